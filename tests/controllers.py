"""`model-deploy` commands in processes of their own, forked from one that has imported everything.

Importing Prefect takes seconds; a suite that starts a hundred commands would spend most of its time on it.
"""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

START_SECONDS = 90.0
EXECUTE = "execute"  # then the id of a flow run: what a worker's process does


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Command:
    """A command that was started."""

    base: Path

    @property
    def output(self) -> str:
        return self.base.with_suffix(".out").read_text()

    def wait_for(self, step: str, seconds: float = 90) -> None:
        """Until the step's line is printed: it has ended, and the next one has begun."""
        wait_until(lambda: self.ended or self.has_done(step), seconds)
        assert self.has_done(step), f"it ended without {step!r}: {self.output}"

    def has_done(self, step: str) -> bool:
        return any(line.strip().startswith(f"{step}  ") for line in self.output.splitlines())

    @property
    def ended(self) -> bool:
        return self.base.with_suffix(".code").exists()

    def signal(self, number: int) -> None:
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(int(self.base.with_suffix(".pid").read_text()), number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.wait()

    def wait(self, seconds: float = 180) -> Done:
        wait_until(lambda: self.ended, seconds)
        code = int(self.base.with_suffix(".code").read_text())
        return Done(code, self.output, self.base.with_suffix(".err").read_text())


class Controllers:
    """Starts commands."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.numbers = count(1)
        self.log = (folder / "server.log").open("wb")
        self.server = subprocess.Popen(
            [sys.executable, str(Path(__file__))],
            stdin=subprocess.PIPE,
            stdout=self.log,
            stderr=self.log,
            env=environment,
            cwd=Path(__file__).parent.parent,
        )

    def start(self, *arguments: str, cwd: Path) -> Command:
        base = self.folder / f"{next(self.numbers):03}-{arguments[0]}"
        order = {"arguments": arguments, "cwd": str(cwd), "base": str(base)}
        assert self.server.stdin is not None
        self.server.stdin.write(json.dumps(order).encode() + b"\n")
        self.server.stdin.flush()
        wait_until(base.with_suffix(".pid").exists, START_SECONDS)
        return Command(base)

    def close(self) -> None:
        self.server.terminate()
        self.server.wait(10)
        self.log.close()


def wait_until(condition, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it has not come true within {seconds:.0f} s"
        time.sleep(0.02)


def serve() -> None:
    """Import, then fork a child for every order on stdin; the child runs the command."""
    from deployments.connection import connected

    with connected(quiet=True):
        import fastapi.encoders  # noqa: F401 - Prefect does, when it writes a run's parameters

        import flows.promote
        import flows.reconcile
        import flows.release
        import flows.rollback  # noqa: F401 - this is what the forking is for
        from blocks.smoke import CheckResult
        from flows.latency_plot import latency_plot

        latency_plot([CheckResult("", (0.0,))])  # matplotlib: two fifths of a release's own processor time
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the waiters are nobody's business
    for line in sys.stdin:
        order = json.loads(line)
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _wait_for_child(order)


def _wait_for_child(order: dict) -> None:
    base = Path(order["base"])
    for suffix in (".out", ".err"):
        base.with_suffix(suffix).touch()
    child = os.fork()
    if child == 0:
        _run(order, base)
    _write(base.with_suffix(".pid"), str(child))
    _, status = os.waitpid(child, 0)
    _write(base.with_suffix(".code"), str(os.waitstatus_to_exitcode(status)))
    os._exit(0)


def _run(order: dict, base: Path) -> None:
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore Ctrl-C
    os.chdir(order["cwd"])
    for number, suffix in ((1, ".out"), (2, ".err")):
        os.dup2(os.open(base.with_suffix(suffix), os.O_WRONLY | os.O_APPEND), number)
    sys.argv = ["model-deploy", *order["arguments"]]
    code = 0
    try:
        if sys.argv[1] == EXECUTE:
            _execute(sys.argv[2])
        else:
            from deployments.cli import main

            main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:  # noqa: BLE001 - what python itself would do: a traceback, and 1
        import traceback

        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _execute(identity: str) -> None:
    """What a worker's process does with a run that stands in Prefect."""
    from prefect.client.orchestration import get_client
    from prefect.flow_engine import run_flow

    import flows.check
    import flows.promote
    import flows.release
    import flows.rollback
    from deployments.connection import show_steps

    known = {
        "check": flows.check.check,
        "promote": flows.promote.promote,
        "release": flows.release.release,
        "rollback": flows.rollback.rollback,
    }
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(identity)
        name = client.read_flow(run.flow_id).name
    show_steps()
    suspends = name == "promote"  # which is no failure
    run_flow(
        known[name], flow_run=run, parameters=run.parameters, return_type="state" if suspends else "result"
    )


def _write(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.rename(path)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    serve()
