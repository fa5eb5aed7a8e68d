"""Runs a unit's commands as systemd would: again and again, if it says so."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sandbox.boot.unit import Unit, variables

END_SECONDS = 10.0


class Service:
    """One unit on one VM. Paths that the VM's own files have are meant in the VM's folder."""

    def __init__(self, unit: Unit, root: Path, tools: Path, say: Callable[[str], None]) -> None:
        self.unit = unit
        self.root = root
        self.tools = tools
        self.say = say
        self.ended = threading.Event()
        self.lock = threading.Lock()
        self.process: subprocess.Popen[str] | None = None
        self.thread = threading.Thread(target=self._run, name=unit.name, daemon=True)

    def start(self) -> None:
        """In the background."""
        self.thread.start()

    def kill(self) -> None:
        """At once, and for good."""
        with self.lock:
            self.ended.set()
            if self.process:
                with suppress(ProcessLookupError):
                    os.killpg(self.process.pid, signal.SIGKILL)
        self.thread.join(END_SECONDS)

    def _run(self) -> None:
        while not self.ended.is_set():
            for command in self.unit.commands:
                code = self._command(command)
                if code:
                    self.say(f"{self.unit.name}: ended with code {code}")
                    break
            if not self.unit.restarts:
                return
            self.ended.wait(self.unit.pause)

    def _command(self, command: list[str]) -> int:
        with self.lock:
            if self.ended.is_set():
                return 0
            try:
                self.process = self._started(command)
            except OSError as error:
                self.say(f"{self.unit.name}: {error}")
                return 203  # systemd's EXIT_EXEC
        assert self.process.stdout  # noqa: S101 - it is a pipe
        for line in self.process.stdout:
            self.say(line.rstrip("\n"))
        return self.process.wait()

    def _started(self, command: list[str]) -> "subprocess.Popen[str]":
        program, *rest = command
        words = [str(self.inside(word)) if self.inside(word).exists() else word for word in rest]
        return subprocess.Popen(
            [Path(program).name, *words],  # found where this machine has it
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )

    def _environment(self) -> dict[str, str]:
        path = f"{self.tools}:{os.environ.get('PATH', os.defpath)}"
        engine = {name: value for name, value in os.environ.items() if name.startswith("DOCKER_")}
        environment = {**engine, "PATH": path, **self.unit.environment}
        for file, optional in self.unit.environment_files.items():
            if self.inside(file).exists() or not optional:
                environment |= variables(self.inside(file).read_text(encoding="utf-8"))
        if self.unit.state_directory:
            state = self.inside(f"/var/lib/{self.unit.state_directory}")
            state.mkdir(parents=True, exist_ok=True)
            environment["STATE_DIRECTORY"] = str(state)
        return environment

    def inside(self, path: str) -> Path:
        """The VM's own file of this name."""
        return self.root / path.lstrip("/")
