"""What the demos leave alone: a team's Prefect server, and every environment that is not theirs."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.settings import PREFECT_API_URL, temporary_settings

from blocks.environment import Environment, environment_names
from blocks.provisioning.google_cloud import GoogleCloud
from deployments import demo, demo_cloud, stack
from deployments.apply import apply
from deployments.machine.home import SHIPPED, Home
from deployments.set_up import SetUp
from tests.deployments.conftest import PrefectServer

LOGIN = ("PREFECT_API_KEY", "PREFECT_API_AUTH_STRING")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What set-up is called with; it is not done."""
    said: dict[str, Any] = {}
    monkeypatch.setattr(demo, "bring_up", lambda *_, **given: said.update(given))
    monkeypatch.setenv("MODEL_DEPLOY_HOME", str(tmp_path / "home"))
    for name in LOGIN:
        monkeypatch.setenv(name, "a-secret")
    return said


def test_the_server_of_a_team_is_left_alone(
    told: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "https://prefect.team.example/api")
    Home().remember_environments(Path("/etc/the-teams.yaml"))
    demo.this_machine(SetUp(), [])
    assert stack.api_url(Home()) == f"http://127.0.0.1:{Home().chosen().prefect_port}/api"
    assert not {*LOGIN} & {*os.environ}, "its key is sent to another server"
    assert told["environments"] == SHIPPED
    assert "PREFECT_API_URL names another Prefect server" in capsys.readouterr().out


def test_on_this_machines_own_server_nothing_changes(
    told: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{Home().chosen().prefect_port}/api")
    demo.this_machine(SetUp(), [])
    assert {*LOGIN} < {*os.environ}
    assert told["environments"] is None
    assert "PREFECT_API_URL" not in capsys.readouterr().out


def test_the_environments_of_the_cloud_demo_come_and_go_beside_the_real_ones(
    prefect_server: PrefectServer, tmp_path: Path
) -> None:
    cloud = demo_cloud.Sandbox("demo-project", "http://127.0.0.1:1", tmp_path / "token")
    described, file = demo_cloud.described(cloud), tmp_path / "environments.yaml"
    file.write_text(yaml.safe_dump({"environments": described}))
    with temporary_settings({PREFECT_API_URL: stack.api_url(prefect_server.home)}):
        real = environment_names()
        apply(prefect_server.home, file)
        assert environment_names() == sorted([*real, *described])
        demo_cloud.forgotten()
        assert environment_names() == real
        for kind in (Environment, GoogleCloud):
            with pytest.raises(ValueError, match="Unable to find block document"):
                kind.load("cloud-production")
    shipped = yaml.safe_load(SHIPPED.read_text())["environments"]
    assert not {*described} & {*shipped}
