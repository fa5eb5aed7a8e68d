"""The processes that a team runs beside its releases, and the command of each."""

import os
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


LOOPBACK = "127.0.0.1"
SERVER_HOST = "PREFECT_SERVER_API_HOST"  # Prefect's own variable
POOLS = {Process.worker: "local", Process.scheduled: "scheduled"}  # see prefect.yaml


def command(process: Process, home: Home, host: str = LOOPBACK) -> list[str]:
    """The command that runs the process in the foreground. `host`: the address to listen on."""
    python = [sys.executable, "-m"]
    if process in POOLS:
        return [*python, "prefect", "worker", "start", "--pool", POOLS[process]]
    chosen = home.chosen()
    if process is Process.server:
        return [*python, "deployments.prefect_server", "--host", host, "--port", str(chosen.prefect_port)]
    listen = ["github", "listen", "--host", host, "--port", str(chosen.receiver_port)]
    return [str(Path(sys.executable).parent / "model-deploy"), *listen]


def address(process: Process) -> str:
    """Where it listens for compose and systemd; the receiver has a proxy in front of it on this machine."""
    said = os.environ.get(SERVER_HOST, "") if process is Process.server else ""
    return said or LOOPBACK


def reached_at(process: Process) -> str:
    """The host in its address on this machine."""
    host = address(process)
    host = {"0.0.0.0": LOOPBACK, "localhost": LOOPBACK, "::": "::1"}.get(host, host)  # noqa: S104
    return f"[{host}]" if ":" in host else host
