"""The processes that a team runs beside its releases, and the command of each."""

import sys
from enum import StrEnum
from pathlib import Path

from deployments.machine.home import Home


class Process(StrEnum):
    """One of them, in the order they are started."""

    server = "server"  # Prefect's API and UI
    worker = "worker"  # releases and whatever else needs the container engine
    scheduled = "scheduled"  # what needs no engine
    receiver = "receiver"  # of GitHub's webhook


POOLS = {Process.worker: "local", Process.scheduled: "scheduled"}  # see prefect.yaml


def command(process: Process, home: Home, host: str = "127.0.0.1") -> list[str]:
    """The command that runs the process in the foreground. `host`: the address to listen on."""
    python = [sys.executable, "-m"]
    if process in POOLS:
        return [*python, "prefect", "worker", "start", "--pool", POOLS[process]]
    chosen = home.chosen()
    if process is Process.server:
        return [*python, "deployments.prefect_server", "--host", host, "--port", str(chosen.prefect_port)]
    listen = ["github", "listen", "--host", host, "--port", str(chosen.receiver_port)]
    return [str(Path(sys.executable).parent / "model-deploy"), *listen]
