"""Which docker is used, and what is said where none works; small scripts stand in for docker."""

from collections.abc import Callable
from pathlib import Path

import pytest

from blocks.docker_client import BuildKit, find_docker
from releases.problem import Unreachable

Put = Callable[[str, str], Path]
OLD, NEW = "20.10.24 27.1.0", "28.2.2 27.1.0"  # client and server
STOPPED = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
NOT_MINE = "permission denied while trying to connect to the Docker daemon socket"


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Adds a folder with a docker to the end of PATH."""
    folders: list[str] = []
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("DOCKER_HOST", raising=False)

    def one(folder: str, script: str) -> Path:
        docker = tmp_path / folder / "docker"
        docker.parent.mkdir()
        docker.write_text(f"#!/bin/sh\n{script}\n")
        docker.chmod(0o755)
        folders.append(str(docker.parent))
        monkeypatch.setenv("PATH", ":".join(folders))
        return docker

    return one


def answers(version: str, *, buildx: bool = False) -> str:
    return f'[ "$1" = buildx ] && exit {0 if buildx else 1}\necho {version}'


def fails(words: str) -> str:
    return f'echo "28.2.2 <no value>"\necho "{words}" >&2\nexit 1'


def test_the_first_that_can_build_is_used_not_the_first_on_path(put: Put) -> None:
    put("no-engine", fails(STOPPED))
    put("no-buildkit", answers(NEW))
    able = put("able", answers(NEW, buildx=True))
    put("later", answers(OLD))
    found = find_docker()
    assert (found.path, found.buildkit, found.environment) == (str(able), BuildKit.buildx, {})


def test_an_old_client_is_told_to_use_its_own_buildkit(put: Put) -> None:
    put("no-buildkit", answers(NEW))
    put("old", answers(OLD))
    assert find_docker().environment == {"DOCKER_BUILDKIT": "1"}


def test_the_same_docker_under_two_names_is_asked_once(put: Put, tmp_path: Path) -> None:
    docker = put("real", f"echo asked >> {tmp_path}/asked\n{fails(STOPPED)}")
    linked = put("link", "")
    linked.unlink()
    linked.symlink_to(docker)
    with pytest.raises(Unreachable):
        find_docker()
    assert (tmp_path / "asked").read_text() == "asked\n"


def test_none_that_can_build_is_told_with_what_to_install(put: Put) -> None:
    docker = put("no-buildkit", answers(NEW))
    with pytest.raises(Unreachable, match="no docker on this machine can build") as told:
        find_docker()
    assert told.value.where == str(docker)
    assert "docker-buildx" in told.value.next_step


@pytest.mark.parametrize(
    ("words", "step"),
    [
        (STOPPED, "sudo systemctl start docker"),
        (NOT_MINE, "sudo usermod -aG docker $USER"),
    ],
)
def test_an_engine_that_does_not_answer_is_told_in_dockers_words(put: Put, words: str, step: str) -> None:
    put("docker", fails(words))
    with pytest.raises(Unreachable, match="no container engine answers") as told:
        find_docker()
    assert told.value.got == words
    assert told.value.next_step.startswith(step)


def test_where_docker_host_is_set_that_is_named(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    put("docker", fails(STOPPED))
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(Unreachable) as told:
        find_docker()
    assert "DOCKER_HOST" in told.value.next_step


@pytest.mark.usefixtures("put")
def test_without_any_docker_it_is_to_be_installed() -> None:
    with pytest.raises(Unreachable) as told:
        find_docker()
    assert told.value.got == "no docker on PATH"
    assert "apt-get install docker.io" in told.value.next_step
