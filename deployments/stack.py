"""The processes beside the releases on one machine: started, looked after, stopped; flows registered."""

import fcntl
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from pathlib import Path

from blocks.command import run
from deployments.machine.home import Home
from deployments.pauses import pauses_kept
from deployments.pools import ensure_pools
from deployments.processes import LOOPBACK, POOLS, Process, command, reached_at
from releases.problem import BadInput, Failed, Unreachable

ROOT = Path(__file__).parent.parent
ANSWER_SECONDS = 3
SERVER_SECONDS = 120
DEPLOY_SECONDS = 180
STOP_SECONDS = 15
EXEC_SECONDS = 1.0
AS_BEFORE = (
    "start it as before: docker compose … up, systemctl restart model-deploy, or model-deploy run server"
)
CONFIGURED = ("PREFECT_API_URL", "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING", "PREFECT_UI_URL")
CLOUD = re.compile(r"https://api\.prefect\.cloud/api/accounts/([^/]+)/workspaces/([^/]+)/?")


def api_url(home: Home) -> str:
    """Prefect's API: the one that is configured, else this home's own."""
    return os.environ.get("PREFECT_API_URL") or _own_api_url(home)


def _own_api_url(home: Home) -> str:
    return f"http://{reached_at(Process.server)}:{home.chosen().prefect_port}/api"


def keep_to_own_server(home: Home) -> bool:
    """Forget the Prefect server that the environment names, unless it is this home's own; whether it did."""
    if api_url(home) == _own_api_url(home):
        return False
    for name in CONFIGURED:
        os.environ.pop(name, None)
    return True


def environment(home: Home) -> dict[str, str]:
    """What every Prefect process of this home is given."""
    return {
        "PREFECT_HOME": str(home.prefect),
        "PREFECT_API_URL": api_url(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # A release that waits for its turn is not late; each run that is marked so costs a write of its own.
        "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": "600",
        "PREFECT_WORKER_QUERY_SECONDS": "2",  # Prefect's 10 would be most of the way from a push to live
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        # slots are kept over a restart of the server only there
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "MODEL_DEPLOY_HOME": str(home.path),
    }


def ensure_server(home: Home, *, start: bool = True) -> str:
    """Have the server answering, started or waited for; returns the UI's address. Raises Unreachable.

    One that somebody else runs is waited for in any case: a second one would take its port.
    """
    url = api_url(home)
    if not _answers(url):
        if url != _own_api_url(home):
            raise Unreachable(
                "the Prefect server does not answer", where=url, next_step="check PREFECT_API_URL"
            )
        start = start and _is_ours(home)
        if start:
            ensure_running(home, Process.server)
        _wait_for_server(home, url, started=start)
    return interface(home)


def way_back(home: Home) -> str:
    """What to type where the server does not answer."""
    return "model-deploy up" if _is_ours(home) else AS_BEFORE


def _is_ours(home: Home) -> bool:
    """Whether we may start the server; where we do it listens on 127.0.0.1 only."""
    return not home.chosen().server_elsewhere and reached_at(Process.server) == LOOPBACK


def interface(home: Home) -> str:
    """The address of Prefect's UI."""
    url = api_url(home)
    cloud = CLOUD.fullmatch(url)
    if cloud:
        return f"https://app.prefect.cloud/account/{cloud[1]}/workspace/{cloud[2]}"
    return os.environ.get("PREFECT_UI_URL") or url.removesuffix("/api")


def answers(home: Home) -> bool:
    """Whether Prefect's API does. Raises BadInput where it does not let us in."""
    return _answers(api_url(home))


def workers(home: Home) -> dict[str, bool]:
    """Each of our work pools that Prefect knows, and whether a worker has looked after it lately."""
    headers = {"Content-Type": "application/json", **_login()}
    asked = urllib.request.Request(f"{api_url(home)}/work_pools/filter", b"{}", headers)
    with urllib.request.urlopen(asked, timeout=ANSWER_SECONDS) as answer:
        pools = {pool["name"]: pool["status"] == "READY" for pool in json.load(answer)}
    return {name: pools[name] for name in POOLS.values() if name in pools}


def runs_here(home: Home, process: Process) -> bool:
    """Whether the process runs and was started here, not by compose or systemd."""
    return bool(_alive(home, process))


def ensure_running(home: Home, process: Process) -> None:
    """Have the process running in the background, once, however many commands want it."""
    home.prepare()
    with (home.path / "start.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _alive(home, process):
            _start(home, process)


def register_flows(home: Home, *, in_containers: bool) -> str:
    """Have the work pools, and every deployment of prefect.yaml; what was done. Raises Failed."""
    ensure_pools(home, api_url(home), ROOT, partial(_stop, home), in_containers=in_containers)
    argv = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    with pauses_kept(api_url(home)):
        finished = run(argv, timeout=DEPLOY_SECONDS, cwd=ROOT, env=environment(home))
    if finished.code != 0:
        raise Failed("`prefect deploy --all` failed", got=finished.tail)
    return "as prefect.yaml says"


def stop(home: Home) -> list[str]:
    """End what was started here; returns what was running."""
    return [process for process in reversed(Process) if _stop(home, process)]


def _start(home: Home, process: Process) -> None:
    with (home.path / f"{process}.log").open("ab") as log:
        started = subprocess.Popen(
            command(process, home),
            cwd=ROOT,
            env={**os.environ, **environment(home)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    _pid_file(home, process).write_text(json.dumps(started.pid), encoding="ascii")


def _stop(home: Home, process: Process) -> bool:
    pid = _alive(home, process)
    if pid:
        with suppress(ProcessLookupError):  # it may end by itself meanwhile
            os.killpg(pid, signal.SIGTERM)
            deadline = time.monotonic() + STOP_SECONDS
            while _alive(home, process) and time.monotonic() < deadline:
                time.sleep(0.1)
            if _alive(home, process):
                os.killpg(pid, signal.SIGKILL)
    _pid_file(home, process).unlink(missing_ok=True)
    return bool(pid)


def _alive(home: Home, process: Process) -> int:
    """The process we started, not another that got its number; 0 if it is gone."""
    try:
        pid = int(_pid_file(home, process).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0
    return pid if " ".join(command(process, home)[1:]) in _command_line(pid) else 0


def _command_line(pid: int) -> str:
    """Of a process that runs; empty if there is none."""
    folder = Path(f"/proc/{pid}")
    if not Path("/proc/self").exists():  # macOS; a small Linux may have no ps
        return run(["ps", "-ww", "-o", "args=", "-p", str(pid)], timeout=10).output
    deadline = time.monotonic() + EXEC_SECONDS
    try:
        while True:
            line = (folder / "cmdline").read_text(errors="replace").replace("\0", " ")
            # One that has just been started has none for a moment, though its program runs already.
            if line or _is_over(folder) or time.monotonic() > deadline:
                return line
            time.sleep(0.001)
    except OSError:
        return ""


def _is_over(folder: Path) -> bool:
    """Whether a process has ended, and only its parent has not looked yet."""
    return (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[0] == "Z"


def _pid_file(home: Home, process: Process) -> Path:
    return home.path / f"{process}.pid"


def _answers(url: str) -> bool:
    asked = urllib.request.Request(f"{url}/health", headers=_login())
    try:
        with urllib.request.urlopen(asked, timeout=ANSWER_SECONDS) as answer:
            return bool(answer.status == HTTPStatus.OK)
    except urllib.error.HTTPError as error:
        if error.code not in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            return False
        raise BadInput(
            "Prefect's API does not let us in",
            where=url,
            got=f"HTTP {error.code}",
            next_step="check PREFECT_API_KEY (Prefect Cloud) or PREFECT_API_AUTH_STRING (a server of yours)",
        ) from error
    except (OSError, http.client.HTTPException):  # the second: what listens there speaks no HTTP
        return False


def _login() -> dict[str, str]:
    """As Prefect's own client logs in: a key at Prefect Cloud, else `user:password`."""
    key, user = (os.environ.get(f"PREFECT_API_{name}", "") for name in ("KEY", "AUTH_STRING"))
    if key:
        return {"Authorization": f"Bearer {key}"}
    return {"Authorization": f"Basic {b64encode(user.encode()).decode()}"} if user else {}


def _wait_for_server(home: Home, url: str, *, started: bool) -> None:
    deadline = time.monotonic() + SERVER_SECONDS
    while not _answers(url):
        if time.monotonic() > deadline or (started and not _alive(home, Process.server)):
            raise Unreachable(
                f"Prefect's server does not {'start' if started else 'answer'}",
                where=url,
                expected=f"an answer within {SERVER_SECONDS} s",
                next_step=f"tail {home.path / 'server.log'}" if started else way_back(home),
            )
        time.sleep(0.2)
