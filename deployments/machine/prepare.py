"""Everything this machine needs before a release, each step once and said aloud."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from blocks.docker_client import DockerClient
from deployments.machine import images
from deployments.machine.engine import ensure_engine
from deployments.machine.home import Chosen, Home
from deployments.machine.registry import ensure_registry

Say = Callable[[str, str, float], None]


@dataclass(frozen=True)
class Machine:
    """A machine that is ready."""

    docker: DockerClient
    chosen: Chosen
    registry: str


def prepare(home: Home, say: Say) -> Machine:
    """Decide what is missing and get it. `say` is told step, what was done, seconds. Raises Problem."""

    def step(name: str, work: Callable[[], str]) -> None:
        started = time.monotonic()
        done = work()
        say(name, done, time.monotonic() - started)

    started = time.monotonic()
    docker = ensure_engine()
    say("container engine", f"{docker.path}, BuildKit: {docker.buildkit}", time.monotonic() - started)
    step("python base image", lambda: images.ensure_python(docker))
    step("edge image (HAProxy)", lambda: images.ensure_edge(docker))
    step("registry image", lambda: images.ensure_registry_image(docker))
    step("agent image", lambda: images.ensure_agent(docker))
    chosen = home.chosen()
    step("registry", lambda: ensure_registry(docker, chosen.node, chosen.registry_port))
    return Machine(docker, chosen, f"localhost:{chosen.registry_port}")
