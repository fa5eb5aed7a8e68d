"""Prefect's server is killed while pushes come in."""

import os
import secrets
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deployments import stack
from deployments.machine.home import Home
from tests.deployments.conftest import (
    ENVIRONMENTS,
    PrefectServer,
    listening,
    push,
    register_flows,
    wait_until_ready,
)
from tests.github.server import running

PUSHES = 60


@pytest.fixture
def own_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PrefectServer:
    """One that may be killed."""
    for name in [name for name in os.environ if name.startswith("PREFECT_API")]:
        monkeypatch.delenv(name)
    home = Home(tmp_path / "home")
    file = tmp_path / "environments.yaml"
    file.write_text(ENVIRONMENTS)
    with running() as github:
        server = PrefectServer(home, github)
        try:
            stack.ensure_server(home)
            register_flows(home)
            assert server.model_deploy("apply", str(file)).returncode == 0
            yield server
        finally:
            stack.stop(home)


def test_every_accepted_push_has_its_run_and_every_other_was_told(
    own_server: PrefectServer, tmp_path: Path
) -> None:
    secret = own_server.connect()
    pid = int((own_server.home.path / "server.pid").read_text())
    with listening(own_server, secret, tmp_path / "log") as receiver, ThreadPoolExecutor(20) as senders:
        answers = []
        deliveries = [(push(), f"test-{secrets.token_hex(8)}") for _ in range(PUSHES)]
        for number, answer in enumerate(
            senders.map(lambda one: receiver.deliver(one[0], delivery=one[1]), deliveries)
        ):
            answers.append(answer)
            if number == PUSHES // 4:
                os.killpg(pid, signal.SIGKILL)
        assert {answer.status_code for answer in answers} == {202, 503}
        stack.ensure_server(own_server.home)  # a new one on the same database
        wait_until_ready(receiver)
        again = [receiver.deliver(payload, delivery=identity) for payload, identity in deliveries]
    assert {answer.status_code for answer in again} == {202}
    stored = {run["id"] for run in own_server.runs("service:iris")}
    for first, second in zip(answers, again, strict=True):
        (run,) = second.json()["runs"]
        assert run["flow_run"] in stored
        if first.status_code == 202:
            assert first.json()["runs"] == [run]
    assert len(stored) == PUSHES
