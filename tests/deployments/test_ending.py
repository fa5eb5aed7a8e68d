"""Ctrl-C in the demos and in the set-up: one line, no traceback, and nothing goes on."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from deployments import demo_cloud
from releases.problem import Failed
from tests.controllers import wait_until

ROOT = Path(__file__).parent.parent.parent
HANGS = """\
#!/bin/sh
case "$1" in
  version | info) echo 28.2.2 27.1.0 ;;
  buildx) ;;
  *) echo $$ > asked; exec sleep 60 ;;
esac
"""


@pytest.mark.parametrize("program", ["deployments.demo", "deployments.demo_cloud", "deployments.machine"])
def test_ctrl_c_is_one_line(tmp_path: Path, program: str) -> None:
    """While the container engine does not answer: that is what the first steps wait for."""
    put(tmp_path / "docker", HANGS)
    own = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "MODEL_DEPLOY_HOME": str(tmp_path / "home")}
    process = subprocess.Popen(
        [sys.executable, "-m", program],
        env={**os.environ, **own, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - as in a terminal
    )
    try:
        wait_until((tmp_path / "asked").exists, 60)
        process.send_signal(signal.SIGINT)
        told = process.communicate(timeout=30)[1]
    finally:
        process.kill()
    assert (process.returncode, told) == (130, "cancelled\n")


def test_a_sandbox_that_does_not_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = json.dumps({"project": "p", "api": "http://127.0.0.1:1", "token": "t"})
    stands_in(tmp_path, monkeypatch, f"trap '' TERM\necho $$ > {tmp_path}/pid\necho '{said}'\nexec sleep 60")
    monkeypatch.setattr(demo_cloud, "STOP_SECONDS", 0.2)
    with demo_cloud.sandbox(tmp_path, "localhost:1"):
        pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert "was killed; its VMs may be left" in capsys.readouterr().out


def test_a_sandbox_that_says_nothing_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stands_in(tmp_path, monkeypatch, "exec sleep 60")
    monkeypatch.setattr(demo_cloud, "START_SECONDS", 0.2)
    started = time.monotonic()
    with pytest.raises(Failed, match="does not start"), demo_cloud.sandbox(tmp_path, "localhost:1"):
        pass
    assert time.monotonic() - started < 30


def stands_in(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """For the sandbox's own process; there is no engine and no registry."""
    program = put(folder / "python", f"#!/bin/sh\n{textwrap.dedent(script)}\n")
    monkeypatch.setattr(demo_cloud, "sys", SimpleNamespace(executable=str(program)))
    monkeypatch.setattr(demo_cloud, "find_docker", lambda: None)
    monkeypatch.setattr(demo_cloud, "forget_images", lambda *_: None)


def put(file: Path, script: str) -> Path:
    file.write_text(script)
    file.chmod(0o755)
    return file
