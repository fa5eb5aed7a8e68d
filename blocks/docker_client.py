"""Which `docker` on this machine reaches the engine and can build with BuildKit."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
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
    with ThreadPoolExecutor() as pool:
        asked = list(pool.map(_probe, paths))
    clients = [one for one in asked if isinstance(one, DockerClient)]
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
    words = [one for one in asked if isinstance(one, str)]
    raise Unreachable(
        "no container engine answers",
        where=", ".join(paths),
        expected="`docker info` works",
        got="\n".join(dict.fromkeys(words)) or "no docker on PATH",
        next_step=_way_in(words),
    )


def _way_in(words: list[str]) -> str:
    """What to do, from what the clients on this machine have said."""
    if not words:
        return "sudo apt-get install docker.io (Debian, Ubuntu), or Docker Desktop"
    if any("permission denied" in said.lower() for said in words):
        return "sudo usermod -aG docker $USER, then log in again"
    if os.environ.get("DOCKER_HOST"):
        return "check DOCKER_HOST, or unset it"
    return "sudo systemctl start docker, or start Docker Desktop"


def candidates() -> list[str]:
    """Every executable `docker` on PATH, each once."""
    found: dict[str, str] = {}
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        path = shutil.which("docker", path=folder)
        if path:
            found.setdefault(str(Path(path).resolve()), path)
    return list(found.values())


def _probe(path: str) -> DockerClient | str:
    """The client if it reaches an engine, else its own words."""
    try:
        version = run(
            [path, "version", "--format", "{{.Client.Version}} {{.Server.Version}}"], timeout=PROBE_SECONDS
        )
        if version.code != 0 or not version.output.strip():
            return version.output.strip().rpartition("\n")[2] or f"{path}: exit code {version.code}"
        if run([path, "buildx", "version"], timeout=PROBE_SECONDS).code == 0:
            return DockerClient(path, BuildKit.buildx)
    except Failed as failed:
        return f"{failed.what}: {failed.got.splitlines()[0]}"
    major = int(version.output.split()[-2].split(".")[0])
    return DockerClient(path, BuildKit.builtin if major <= LAST_CLIENT_WITH_BUILDKIT else BuildKit.none)
