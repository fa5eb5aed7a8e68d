"""The one place that runs commands."""

import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from releases.problem import Failed

ENOUGH_LINES = 5000  # for people, of a command that may print without end
SHOWN_LINES = 25
KILL_AFTER = 5.0
LOOK_SECONDS = 0.2  # how soon a command ends that somebody stops


class TookTooLong(Failed):
    """The command was ended at its limit."""


@dataclass(frozen=True)
class Finished:
    """A command that ended by itself. Output is stdout and stderr, in the order they came."""

    argv: tuple[str, ...]
    code: int
    output: str
    seconds: float

    @property
    def tail(self) -> str:
        """The last lines, for people."""
        return "\n".join(self.output.splitlines()[-SHOWN_LINES:])


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    input_text: str | None = None,
    on_line: Callable[[str], None] | None = None,
    last: int | None = None,
    stop: threading.Event | None = None,
) -> Finished:
    """Run to the end. Raises Failed when it cannot start or is stopped, TookTooLong after `timeout` seconds.

    `last`: keep only so many of the last lines; for output that nothing reads but people.

    The whole process group ends with it, however the caller is left.
    """
    started = time.monotonic()
    process = _start(argv, cwd, env, piped_input=input_text is not None)
    lines: deque[str] = deque(maxlen=last)
    over, late = threading.Event(), threading.Event()

    def watch() -> None:
        while not over.wait(min(LOOK_SECONDS, timeout)):
            if time.monotonic() - started > timeout:
                late.set()
            if late.is_set() or (stop is not None and stop.is_set()):
                _end_group(process)
                return

    threading.Thread(target=watch, daemon=True).start()
    try:
        if input_text is not None and process.stdin is not None:
            process.stdin.write(input_text)
            process.stdin.close()
        for line in process.stdout or ():
            lines.append(line.rstrip("\n"))
            if on_line:
                on_line(lines[-1])
        code = process.wait()
    finally:
        over.set()
        _end_group(process)
    finished = Finished(tuple(argv), code, "\n".join(lines), time.monotonic() - started)
    if late.is_set():
        raise TookTooLong(
            f"`{argv[0]} {argv[1] if len(argv) > 1 else ''}` took too long".replace(" `", "`"),
            expected=f"done within {timeout:.0f} s",
            got=f"still running; its last lines were:\n{finished.tail}",
        )
    if stop is not None and stop.is_set():
        raise Failed(f"`{argv[0]}` was stopped")
    return finished


def _start(
    argv: Sequence[str], cwd: Path | None, env: Mapping[str, str] | None, *, piped_input: bool
) -> "subprocess.Popen[str]":
    try:
        return subprocess.Popen(
            list(argv),
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.PIPE if piped_input else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # so that its children end with it
        )
    except OSError as error:
        raise Failed(f"`{argv[0]}` cannot be started", got=str(error)) from error


def _end_group(process: "subprocess.Popen[str]") -> None:
    """End the command, politely first, and then whatever it has left behind."""
    if process.poll() is None:
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(KILL_AFTER)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
