"""The container engine is installed with its client, wherever the distribution has it, and started."""

import sys
from pathlib import Path

import pytest

from deployments.machine import engine


@pytest.mark.parametrize(("known", "installed"), [(0, True), (100, False)])
def test_a_client_that_comes_apart_is_installed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: int, installed: bool
) -> None:
    said = tmp_path / "said"
    for name, code in {"apt-get": 0, "apt-cache": known}.items():
        (tmp_path / name).write_text(f'#!/bin/sh\necho {name} "$@" >> {said}\nexit {code}\n')
        (tmp_path / name).chmod(0o755)
    (tmp_path / "docker").write_text("#!/bin/sh\nexit 1\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(engine, "may_install", lambda: True)
    monkeypatch.setattr(engine, "_start_daemon", lambda: None)
    monkeypatch.setattr(engine, "find_docker", finds_one_after(said))
    assert engine.ensure_engine() == "docker"
    update, asked, install = said.read_text().splitlines()
    assert (update, asked) == ("apt-get update -qq", "apt-cache show docker-cli")
    assert "docker.io" in install
    assert ("docker-cli" in install) is installed


@pytest.fixture(params=["dockerd", "systemctl"])
def starter(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What starts an engine that is installed; its client answers once it has run."""
    works = f'[ -e {tmp_path}/running ] && echo 28.2.2 27.1.0 || {{ echo "it does not run"; exit 1; }}'
    starts = f"> {tmp_path}/running"
    for name, script in {"docker": works, "dockerd": "exit 1", request.param: starts}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(engine, "may_install", lambda: True)
    monkeypatch.setattr(engine, "DAEMON_LOG", tmp_path / "dockerd.log")
    monkeypatch.setattr(
        engine, "SYSTEMD", tmp_path / ("systemctl" if request.param == "systemctl" else "none")
    )
    return tmp_path / request.param


def test_one_that_is_installed_and_stopped_is_started(starter: Path) -> None:
    assert engine.ensure_engine().path == str(starter.parent / "docker")


def test_one_that_is_elsewhere_and_does_not_answer_is_none_to_start_here(
    starter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://builder.example:2376")
    with pytest.raises(engine.Unreachable, match="no container engine answers"):
        engine.ensure_engine()
    assert not (starter.parent / "running").exists()


def test_one_that_is_silent_while_it_starts_is_waited_for(
    starter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its socket takes calls before it answers any: until containers that were left have started again."""
    silent_once = f"""
        [ -e {starter.parent}/running ] || exit 1
        [ -e {starter.parent}/asked ] && echo 28.2.2 27.1.0 && exit
        > {starter.parent}/asked
        exec {sys.executable} -c 'import time; time.sleep(60)'
    """
    (starter.parent / "docker").write_text(f"#!/bin/sh\n{silent_once}\n")
    monkeypatch.setattr(engine, "ANSWER_SECONDS", 0.3)
    assert engine.ensure_engine().path == str(starter.parent / "docker")


def test_one_that_does_not_start_is_told_with_where_to_look(
    starter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starter.write_text("#!/bin/sh\nexit 1\n")
    monkeypatch.setattr(engine, "START_SECONDS", 0.5)
    with pytest.raises(engine.Unreachable, match="does not start") as told:
        engine.ensure_engine()
    log = f"tail {starter.parent}/dockerd.log" if starter.name == "dockerd" else "journalctl --unit docker"
    assert told.value.next_step == log


def finds_one_after(installed: Path):
    def find() -> str:
        if not installed.exists():
            raise engine.Unreachable("no container engine answers")
        return "docker"

    return find
