"""What tests with real containers share. Everything has a name of its own and is gone afterwards."""

import multiprocessing
import secrets
from collections.abc import Iterator

import pytest

from bench.node import LocalNode, local_node
from bench.sample import push_sample
from blocks.docker_client import DockerClient, find_docker
from deployments.machine.home import free_ports
from deployments.machine.registry import ensure_registry, remove_registry
from tests.place import Place
from tests.place import place as make_place

# What is killed in the middle is forked from a process that has imported it; there is one for all of a worker's
# tests, and only its first start counts.
multiprocessing.get_context("forkserver").set_forkserver_preload(
    [
        "tests.killed_work",
        "tests.killing",
        "dlt.sources.rest_api",
        "dlt.destinations",
        "pyarrow.dataset",
        "google.auth.transport.requests",
        "google.oauth2.credentials",
    ]
)


@pytest.fixture(scope="session")
def docker_client() -> DockerClient:
    return find_docker()


@pytest.fixture(scope="session")
def registry(docker_client: DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry of our own."""
    node, port = f"md-test-{secrets.token_hex(3)}", free_ports(1)[0]
    try:
        yield ensure_registry(docker_client, node, port)
    finally:
        remove_registry(docker_client, node, port)


@pytest.fixture(scope="session")
def sample_image(registry: str) -> str:
    """The sample service, pushed: repository@digest."""
    return push_sample(registry)


@pytest.fixture
def node(sample_image: str) -> Iterator[LocalNode]:
    with local_node(sample_image) as made:
        yield made


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One for all tests of whole releases; each starts with a release of its own."""
    with make_place(tmp_path_factory.mktemp("place")) as made:
        yield made
