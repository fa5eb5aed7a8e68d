"""What runs beside the releases on one machine: Prefect's server, and a worker for runs started in its UI."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from blocks.command import run
from deployments.machine.home import Home
from releases.problem import Failed, Unreachable

ROOT = Path(__file__).parent.parent
SERVER_SECONDS = 120
POOL = "local"


def api_url(home: Home) -> str:
    """Prefect's API: the one that is configured, else this home's own."""
    return os.environ.get("PREFECT_API_URL") or f"http://127.0.0.1:{home.chosen().prefect_port}/api"


def environment(home: Home) -> dict[str, str]:
    """What every Prefect process of this home is given."""
    return {
        "PREFECT_HOME": str(home.prefect),
        "PREFECT_API_URL": api_url(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        # slots are kept over a restart of the server only there
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "MODEL_DEPLOY_HOME": str(home.path),
        "MODEL_DEPLOY_CHECKOUT": str(ROOT),
    }


def ensure_server(home: Home) -> str:
    """Have the server answering; returns the address of its UI. Raises Unreachable."""
    url = api_url(home)
    if not _answers(url):
        if os.environ.get("PREFECT_API_URL"):
            raise Unreachable(
                "the Prefect server does not answer", where=url, next_step="check PREFECT_API_URL"
            )
        port = str(home.chosen().prefect_port)
        _start(home, "server", ["server", "start", "--host", "127.0.0.1", "--port", port])
        _wait_for_server(home, url)
    return url.removesuffix("/api")


def ensure_worker(home: Home) -> None:
    """Have the flows registered and a worker that runs what is started in the UI. Raises Failed."""
    if _alive(home, "worker"):
        return
    register_flows(home)
    _start(home, "worker", ["worker", "start", "--pool", POOL, "--type", "process"])


def register_flows(home: Home) -> None:
    """Have the work pool, and every deployment of prefect.yaml. Raises Failed."""
    prefect = [sys.executable, "-m", "prefect", "--no-prompt"]
    for argv in (
        [*prefect, "work-pool", "create", POOL, "--type", "process", "--overwrite"],
        [*prefect, "deploy", "--all"],
    ):
        finished = run(argv, timeout=180, cwd=ROOT, env=environment(home))
        if finished.code != 0:
            raise Failed(f"`prefect {' '.join(argv[4:])}` failed", got=finished.tail)


def stop(home: Home) -> list[str]:
    """End what was started here; returns what was running."""
    return [name for name in ("worker", "server") if _stop(home, name)]


def _start(home: Home, name: str, arguments: list[str]) -> None:
    home.prepare()
    with (home.path / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", *arguments],
            cwd=ROOT,
            env={**os.environ, **environment(home)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    _pid_file(home, name).write_text(json.dumps(process.pid), encoding="ascii")


def _stop(home: Home, name: str) -> bool:
    pid = _alive(home, name)
    if pid:
        os.killpg(pid, signal.SIGTERM)
        deadline = time.monotonic() + 15
        while _alive(home, name) and time.monotonic() < deadline:
            time.sleep(0.1)
        if _alive(home, name):
            os.killpg(pid, signal.SIGKILL)
    _pid_file(home, name).unlink(missing_ok=True)
    return bool(pid)


def _alive(home: Home, name: str) -> int:
    """The process we started, not another that got its number; 0 if it is gone."""
    try:
        pid = int(_pid_file(home, name).read_text(encoding="ascii"))
        command = run(["ps", "-o", "args=", "-p", str(pid)], timeout=10).output
    except (OSError, ValueError):
        return 0
    return pid if f"prefect {name} start" in command else 0


def _pid_file(home: Home, name: str) -> Path:
    return home.path / f"{name}.pid"


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=3) as answer:
            return bool(answer.status == 200)  # noqa: PLR2004 - OK
    except OSError:
        return False


def _wait_for_server(home: Home, url: str) -> None:
    deadline = time.monotonic() + SERVER_SECONDS
    while not _answers(url):
        if time.monotonic() > deadline or not _alive(home, "server"):
            raise Unreachable(
                "Prefect's server does not start",
                where=url,
                expected=f"an answer within {SERVER_SECONDS} s",
                next_step=f"tail {home.path / 'server.log'}",
            )
        time.sleep(0.2)
