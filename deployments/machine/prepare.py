"""Everything this machine needs before a release, each step once and said aloud."""

from blocks.docker_client import find_docker
from deployments.machine import images
from deployments.machine.engine import ensure_engine
from deployments.machine.home import Home
from deployments.machine.registry import ensure_registry
from deployments.set_up import SetUp


def prepare(home: Home, set_up: SetUp) -> None:
    """Decide what is missing and get it. Raises Problem."""
    set_up.step("container engine", _engine)
    docker = find_docker()
    set_up.step("python base image", lambda: images.ensure_python(docker))
    set_up.step("edge image (HAProxy)", lambda: images.ensure_edge(docker))
    set_up.step("registry image", lambda: images.ensure_registry_image(docker))
    set_up.step("agent image", lambda: images.ensure_agent(docker))
    chosen = home.chosen()
    set_up.step("registry", lambda: ensure_registry(docker, chosen.node, chosen.registry_port))


def _engine() -> str:
    docker = ensure_engine()
    return f"{docker.path}, BuildKit: {docker.buildkit}"
