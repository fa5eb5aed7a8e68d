"""VMs of the sandbox for the tests of a node on Compute Engine; booted once, each test begins confirmed."""

from collections.abc import Iterator

import pytest

from bench.vm import Cloud, Vm, built_agent, cloud, node_boot
from blocks.docker_client import DockerClient
from deployments.machine.registry import forget_images

BUCKET = "logs"


@pytest.fixture(scope="session")
def agent_image() -> str:
    return built_agent()


@pytest.fixture(scope="session")
def machines(registry: str, docker_client: DockerClient) -> Iterator[Cloud]:
    with cloud(registry) as made:
        yield made
    forget_images(docker_client, made.registry)


@pytest.fixture(scope="session")
def booted(machines: Cloud, agent_image: str, sample_image: str) -> Vm:
    project = machines.at.project
    machines.call("POST", f"/storage/v1/b?project={project}", json={"name": BUCKET})
    vm = machines.boot("node-1", node_boot(agent_image, machines.registry, bucket=BUCKET))
    vm.image = sample_image
    return vm


@pytest.fixture
def vm(booted: Vm) -> Iterator[Vm]:
    """Serving a confirmed release, whatever the test before has left."""
    booted.settled()
    yield booted
    booted.cloud.call("DELETE", "/sandbox/faults")
