"""The one place that runs commands: nothing outlives its deadline, no output is lost."""

import os
import sys
import time
from pathlib import Path

import pytest

from blocks.command import run
from releases.problem import Failed
from tests.controllers import wait_until


def test_output_and_code_come_back() -> None:
    lines: list[str] = []
    done = run(
        [sys.executable, "-c", "print('one'); print('two'); raise SystemExit(3)"],
        timeout=20,
        on_line=lines.append,
    )
    assert (done.code, done.output, lines) == (3, "one\ntwo", ["one", "two"])


def test_a_command_that_hangs_ends_with_its_children_and_its_last_lines_are_told(tmp_path: Path) -> None:
    child = tmp_path / "pid"
    script = f"echo working; (trap '' TERM; sleep 60) & echo $! > {child}; wait"
    started = time.monotonic()
    with pytest.raises(Failed, match="took too long") as caught:
        run(["sh", "-c", script], timeout=1)
    assert time.monotonic() - started < 10
    assert "working" in caught.value.got
    pid = int(child.read_text())
    wait_until(lambda: not alive(pid), 10)


def test_a_command_that_is_not_there_is_named() -> None:
    with pytest.raises(Failed, match="`nowhere` cannot be started"):
        run(["nowhere"], timeout=5)


def test_a_callers_mistake_ends_the_command(tmp_path: Path) -> None:
    def stop(_line: str) -> None:
        raise KeyError

    child = tmp_path / "pid"
    with pytest.raises(KeyError):
        run(["sh", "-c", f"echo $$ > {child}; echo line; exec sleep 60"], timeout=30, on_line=stop)
    wait_until(lambda: not alive(int(child.read_text())), 10)


def test_input_is_given(tmp_path: Path) -> None:
    assert run(["cat"], timeout=10, input_text="words").output == "words"


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
