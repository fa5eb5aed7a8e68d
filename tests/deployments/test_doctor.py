"""`model-deploy doctor` on this machine: what it looks at, and what to type where something is missing."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest
import typer

from deployments.cli import doctor
from deployments.machine.home import Home
from tests.http_server import Answer, Request, json_answer, serving

POOLS = [{"name": "local", "status": "READY"}, {"name": "scheduled", "status": "NOT_READY"}]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A docker that answers, whose images lie in a folder of their own."""
    engine, docker = tmp_path / "engine", tmp_path / "docker"
    engine.mkdir()
    docker.write_text(f'#!/bin/sh\ncase "$*" in *DockerRootDir*) echo {engine};; *) echo 20.1 20.1;; esac\n')
    docker.chmod(0o755)
    (tmp_path / "git").symlink_to(docker)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("MODEL_DEPLOY_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    return tmp_path


@pytest.fixture
def running(machine: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """What `up` starts answers; the work pools that Prefect tells of."""
    pools = list(POOLS)

    def answer(request: Request) -> Answer:
        return json_answer(pools) if request.path == "/api/work_pools/filter" else Answer(b"{}")

    with serving(answer) as address:
        chosen = Home().chosen().model_copy(update={"registry_port": urlparse(address).port})
        (Home().path / "machine.json").write_text(chosen.model_dump_json())
        monkeypatch.setenv("PREFECT_API_URL", f"{address}/api")
        yield pools


def examined(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    with pytest.raises(typer.Exit, match="4"):  # something is missing
        doctor(environment="", file=None, as_json=True)
    return {one["what"]: one for one in json.loads(capsys.readouterr().out)}


@pytest.mark.usefixtures("running")
def test_what_up_starts_is_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    found = examined(capsys)
    assert {one["what"] for one in found.values() if not one["ok"]} == {"worker of scheduled"}
    assert {"registry", "Prefect's server", "worker of local"} < set(found)
    assert "next: model-deploy up" in found["worker of scheduled"]["detail"]


def test_for_people_it_is_a_line_each(
    running: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    running[1] = {"name": "scheduled", "status": "READY"}
    doctor(environment="", file=None, as_json=False)
    said = capsys.readouterr().out
    assert "ok       worker of scheduled: runs\n" in said
    assert "MISSING" not in said


@pytest.mark.usefixtures("machine")
def test_what_does_not_answer_is_told_with_the_next_step(capsys: pytest.CaptureFixture[str]) -> None:
    Home().chosen()
    found = examined(capsys)
    for what in ("registry", "Prefect's server"):
        assert not found[what]["ok"]
        assert "next: model-deploy up" in found[what]["detail"]


def test_a_machine_on_which_up_never_ran_is_left_as_it_was(
    machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert examined(capsys)["set up"]["detail"] == "next: model-deploy up"
    assert not (machine / "home").exists()


@pytest.mark.usefixtures("running")
def test_the_disk_that_images_go_to_is_measured(
    machine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(machine)
    full = usage._replace(free=1 << 30)
    monkeypatch.setattr(shutil, "disk_usage", lambda at: full if at == machine / "engine" else usage)
    found = examined(capsys)
    assert found["disk"]["ok"]
    assert not found["disk of images"]["ok"]
    assert "docker image prune" in found["disk of images"]["detail"]
