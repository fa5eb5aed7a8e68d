"""500 deliveries while the receiver is killed and Prefect's server is killed, and what reconcile makes of it."""

import os
import secrets
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from deployments import stack
from deployments.machine.home import Home
from tests.controllers import wait_until
from tests.deployments.conftest import PrefectServer, Receiver, listening, push, register_flows
from tests.deployments.receiving import waiting
from tests.github.server import running

SERVICES, COMMITS, KILLED_AFTER = 50, 10, 60
NOT_TAKEN = 5  # the newest pushes of so many services come while no receiver listens
ENVIRONMENTS = """
environments:
  local:
    branch: main
    services:
%s
    registry: {prefix: "${registry}"}
    target: {home: "${home}", node: "${node}", ports: "${ports}"}
    store: {path: "${home}/store"}
"""
SERVICE = '      - {name: s%s, repository: acme/s%s, source: "%s"}'


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Every service's sources: ten commits, the last of them the head of main."""
    folder = tmp_path / "models"
    who = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", str(folder)], check=True)
    for number in range(COMMITS):
        commit = ["commit", "--quiet", "--allow-empty", "-m", str(number)]
        subprocess.run(["git", "-C", str(folder), *who, *commit], check=True)
    return folder


def commits_of(repository: Path) -> list[str]:
    argv = ["git", "-C", str(repository), "rev-list", "--reverse", "main"]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()


@pytest.fixture
def own_server(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> PrefectServer:
    """One that may be killed."""
    for name in [name for name in os.environ if name.startswith("PREFECT_API")]:
        monkeypatch.delenv(name)
    home = Home(tmp_path / "home")
    file = tmp_path / "environments.yaml"
    file.write_text(ENVIRONMENTS % "\n".join(SERVICE % (n, n, repository) for n in range(SERVICES)))
    with running() as github:
        server = PrefectServer(home, github)
        try:
            stack.ensure_server(home)
            register_flows(home)
            assert server.model_deploy("apply", str(file)).returncode == 0
            yield server
        finally:
            stack.stop(home)


def burst(
    receiver: Receiver, pushes: list[dict[str, Any]], kill: Callable[[], None]
) -> list[httpx.Response | None]:
    """All at once, and something is killed in the middle; None where nobody answered."""
    answered: list[httpx.Response | None] = []
    together = threading.Barrier(len(pushes))

    def deliver(payload: dict[str, Any]) -> httpx.Response | None:
        together.wait(60)
        try:
            answer = receiver.deliver(payload)
        except httpx.HTTPError:
            answer = None
        answered.append(answer)
        if len(answered) == KILLED_AFTER:
            kill()
        return answer

    with ThreadPoolExecutor(len(pushes)) as senders:
        return list(senders.map(deliver, pushes))


@pytest.mark.timeout(600)
def test_every_accepted_delivery_has_one_run_and_reconcile_picks_up_every_refused_one(
    own_server: PrefectServer, repository: Path, tmp_path: Path
) -> None:
    secret, commits = own_server.connect(), commits_of(repository)
    pushes = [
        push(
            commit,
            before=before,
            repository={"full_name": f"acme/s{number}", "pushed_at": secrets.randbits(60)},
        )
        for before, commit in pairwise(["0" * 40, *commits])
        for number in range(SERVICES)
    ]
    sent, half = pushes[:-NOT_TAKEN], len(pushes) // 2
    pid = int((own_server.home.path / "server.pid").read_text())
    with listening(own_server, secret, tmp_path / "first.log") as receiver:
        assert receiver.process is not None
        answers = burst(receiver, sent[:half], receiver.process.kill)
    with listening(own_server, secret, tmp_path / "second.log") as receiver:
        answers += burst(receiver, sent[half:], lambda: os.killpg(pid, signal.SIGKILL))
    told = {answer.status_code if answer else None for answer in answers}
    assert told == {202, None}, "None: the receiver that was killed"
    stack.ensure_server(own_server.home)
    with listening(own_server, secret, tmp_path / "third.log") as receiver:
        wait_until(lambda: waiting(receiver) == 0, 120)
    lost = {f"service:s{number}" for number in range(SERVICES - NOT_TAKEN, SERVICES)}
    assert heads(own_server, commits[-1]).isdisjoint(lost)
    ran = {
        service: max(commits.index(run["parameters"]["ref"]) for run in own_server.runs("pushed", service))
        for service in {service_of(payload) for payload in sent}
    }
    for payload, answer in zip(sent, answers, strict=True):
        if answer is not None:  # before reconcile, which would hide it
            assert ran[service_of(payload)] >= commits.index(payload["after"]), "an accepted push has no run"

    reconciled = own_server.model_deploy("reconcile")
    assert reconciled.returncode == 0, reconciled.stderr
    again = own_server.model_deploy("reconcile")
    assert "started" not in again.stdout

    runs = {run["id"]: run["parameters"] for run in own_server.runs("pushed")}
    services = {
        run["id"]: tag for run in own_server.runs("pushed") for tag in run["tags"] if tag[:9] == "service:s"
    }
    each = Counter((services[run], parameters["ref"]) for run, parameters in runs.items())
    assert set(each.values()) == {1}, "a commit has two runs"
    for payload, answer in zip(sent, answers, strict=True):
        for said in answer.json()["runs"] if answer else ():
            assert commits.index(runs[said["flow_run"]]["ref"]) >= commits.index(payload["after"])
    assert heads(own_server, commits[-1]) == {f"service:s{number}" for number in range(SERVICES)}


def service_of(payload: dict[str, Any]) -> str:
    return f"service:{payload['repository']['full_name'].removeprefix('acme/')}"


def heads(server: PrefectServer, commit: str) -> set[str]:
    """The services whose newest commit has a run."""
    runs = [run for run in server.runs("pushed") if run["parameters"]["ref"] == commit]
    return {tag for run in runs for tag in run["tags"] if tag.startswith("service:")}
