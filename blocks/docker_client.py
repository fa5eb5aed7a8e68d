"""Which `docker` on this machine reaches the engine and can build with BuildKit."""

import os
import shutil
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

from blocks.command import run
from releases.problem import Failed, Unreachable

LAST_CLIENT_WITH_BUILDKIT = 22  # clients from 23 on leave BuildKit to the buildx plugin
PROBE_SECONDS = 15


class BuildKit(StrEnum):
    """How a client builds with BuildKit."""

    buildx = "buildx"
    builtin = "builtin"
    none = "none"


@dataclass(frozen=True)
class DockerClient:
    """A `docker` command that reaches the engine."""

    path: str
    buildkit: BuildKit

    @property
    def environment(self) -> dict[str, str]:
        """What its builds need in the environment."""
        return {"DOCKER_BUILDKIT": "1"} if self.buildkit is BuildKit.builtin else {}


def find_docker() -> DockerClient:
    """Find the first `docker` on PATH that can build with BuildKit. Raises Unreachable."""
    return _find(tuple(candidates()), os.environ.get("DOCKER_HOST", ""))


@cache  # asking takes a tenth of a second, and a release needs to know a dozen times
def _find(paths: tuple[str, ...], _host: str) -> DockerClient:
    clients = [client for path in paths if (client := _probe(path))]
    able = [client for client in clients if client.buildkit is not BuildKit.none]
    if able:
        return able[0]
    if clients:
        raise Unreachable(
            "no docker on this machine can build with BuildKit",
            where=", ".join(client.path for client in clients),
            expected="the buildx plugin, or a client before version 23",
            next_step="apt-get install docker-buildx (Debian, Ubuntu), or see docs.docker.com/build",
        )
    raise Unreachable(
        "no container engine answers",
        expected="`docker info` works",
        got="no docker on PATH" if not paths else "the daemon is not running, or not for this user",
        next_step="sudo apt-get install docker.io, or start Docker Desktop",
    )


def candidates() -> list[str]:
    """Every executable `docker` on PATH, each once."""
    found: dict[str, str] = {}
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        path = shutil.which("docker", path=folder)
        if path:
            found.setdefault(str(Path(path).resolve()), path)
    return list(found.values())


def _probe(path: str) -> DockerClient | None:
    try:
        version = run(
            [path, "version", "--format", "{{.Client.Version}} {{.Server.Version}}"], timeout=PROBE_SECONDS
        )
        if version.code != 0 or not version.output.strip():
            return None
        if run([path, "buildx", "version"], timeout=PROBE_SECONDS).code == 0:
            return DockerClient(path, BuildKit.buildx)
    except Failed:
        return None
    major = int(version.output.split()[-2].split(".")[0])
    return DockerClient(path, BuildKit.builtin if major <= LAST_CLIENT_WITH_BUILDKIT else BuildKit.none)
