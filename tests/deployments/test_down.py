"""What `down` takes away, what it keeps, and that it says which."""

import os
from pathlib import Path

import pytest

from blocks.command import run
from blocks.docker_client import BuildKit, DockerClient
from deployments import local
from deployments.machine import engine, images
from deployments.machine.home import Home
from deployments.machine.registry import ensure_registry

THERE = "model-deploy/agent:1 model-deploy/agent:2 model-deploy/haproxy:local model-deploy-build/iris-1:ab python:3.11-slim"
DPKG = """#!/bin/sh
echo "dpkg-query: no packages found matching docker-cli" >&2
printf 'installed docker.io\\ninstalled docker-buildx\\n'
exit 1
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("MODEL_DEPLOY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MODEL_DEPLOY_NODE", f"md-down-{tmp_path.parent.name[-6:]}")
    return Home()


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A docker that keeps a list of images, a line each, and has no containers; the list."""
    kept, docker = tmp_path / "images", tmp_path / "docker"
    kept.write_text(THERE.replace(" ", "\n") + "\nmysql:8\n")
    docker.write_text(
        f"""#!/bin/sh
case "$1 $2" in
  "image ls") [ "$3" = --digests ] || cat {kept};;
  "image rm") shift 2; for one; do grep -vxF "$one" {kept} > {kept}.new; mv {kept}.new {kept}; done;;
  "image inspect") for last; do :; done; grep -qxF "$last" {kept} || exit 1; [ ! -e {tmp_path}/label ] || cat {tmp_path}/label;;
  "ps -aq") cat {tmp_path}/nodes 2>/dev/null;;
esac
"""
    )
    docker.chmod(0o755)
    monkeypatch.setattr(local, "find_docker", lambda: DockerClient(str(docker), BuildKit.buildx))
    monkeypatch.setattr(engine, "DAEMON_LOG", tmp_path / "dockerd.log")
    query = tmp_path / "dpkg-query"
    query.write_text(DPKG)
    query.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(engine.shutil, "which", lambda _: "/usr/sbin/dockerd")
    return kept


def test_with_data_every_image_that_was_made_goes_and_what_stays_is_told(home: Home, fake: Path) -> None:
    (fake.parent / "label").write_text(images.PYTHON)  # a stand-in, made here
    (fake.parent / "dockerd.log").touch()
    home.chosen()
    told = "\n".join(local.take_down(data=True))
    assert fake.read_text() == "mysql:8\n"
    assert not home.path.exists()
    for words in (
        "removed model-deploy/agent:1",
        "docker builder prune",
        "apt-get purge docker.io docker-buildx\n",
        "kill $(",
    ):
        assert words in told


def test_a_folder_that_cannot_be_deleted_is_said_to_stay(
    home: Home, fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a user whose agent has written files as root; root may delete anything."""
    home.chosen()
    monkeypatch.setattr(local.shutil, "rmtree", lambda *_, **__: None)
    told = "\n".join(local.take_down(data=True))
    assert f"deleted {home.path}" not in told
    assert f"sudo rm -r {home.path}" in told


def test_an_image_that_was_pulled_stays_and_is_told(home: Home, fake: Path) -> None:
    home.chosen()
    told = "\n".join(local.take_down(data=True))
    assert fake.read_text() == "python:3.11-slim\nmysql:8\n"
    assert "docker image rm python:3.11-slim" in told
    assert "kill" not in told, "the daemon is not ours"


def test_images_that_another_node_needs_stay(home: Home, fake: Path) -> None:
    (fake.parent / "nodes").write_text("c1\n")
    before = fake.read_text()
    home.chosen()
    assert "another node" in local.take_down(data=True)[-1]
    assert fake.read_text() == before


@pytest.mark.containers
def test_without_data_all_is_kept_for_the_next_time_and_told(home: Home, docker_client: DockerClient) -> None:
    chosen = home.chosen()
    volume = [docker_client.path, "volume", "inspect", f"{chosen.node}-registry"]
    ensure_registry(docker_client, chosen.node, chosen.registry_port)
    told = local.take_down(data=False)[-1]
    for words in (str(home.path), f"{chosen.node}-registry", "model-deploy down --data"):
        assert words in told
    assert run(volume, timeout=30).code == 0
    assert home.chosen() == chosen
    ensure_registry(docker_client, chosen.node, chosen.registry_port)
    local.take_down(data=True, keep_images=True)
    assert run(volume, timeout=30).code != 0
    assert not home.path.exists()
