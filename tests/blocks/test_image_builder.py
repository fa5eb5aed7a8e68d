"""The tests' container, with a small script in docker's place that keeps a file for each container."""

from pathlib import Path

import pytest

from blocks import image_builder
from blocks.docker_client import BuildKit, DockerClient
from blocks.image_builder import ImageBuilder
from releases import spec

DOCKER = """#!/bin/sh
cd {folder}
while [ $# -gt 1 ]; do
  case "$1" in
    cp) exit 1;; # there is no report
    rm) for one; do :; done; rm -f "$one"; exit;;
    --name) [ ! -e "$2" ] || {{ echo "Conflict: $2 is in use"; exit 125; }}; touch "$2"; echo ran; exit;;
  esac
  shift
done
"""


def test_what_a_killed_run_has_left_makes_way_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    containers, docker = tmp_path / "containers", tmp_path / "docker"
    containers.mkdir()
    docker.write_text(DOCKER.format(folder=containers))
    docker.chmod(0o755)
    monkeypatch.setattr(image_builder, "find_docker", lambda: DockerClient(str(docker), BuildKit.buildx))
    mine, others = "model-deploy-tests-iris-d1", "model-deploy-tests-iris-d2"
    for left in (mine, others):
        (containers / left).touch()
    said: list[str] = []
    ImageBuilder().test("model-deploy-build/iris-d1:ab-tests", spec.Tests(target="test"), said.append)
    assert said == ["ran"]
    assert [one.name for one in containers.iterdir()] == [others]
