"""The tests' sample service as an image in a registry of its own."""

import json
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from blocks.docker_client import find_docker
from deployments.machine.home import free_ports
from deployments.machine.registry import ensure_registry, remove_registry
from deployments.stack import ROOT

SAMPLE = ROOT / "tests" / "sample"


@contextmanager
def sample_image() -> Iterator[str]:
    """repository@digest, for as long as the block runs."""
    docker, node, port = find_docker(), f"md-test-{secrets.token_hex(3)}", free_ports(1)[0]
    try:
        yield push_sample(ensure_registry(docker, node, port))
    finally:
        remove_registry(docker, node, port)


def push_sample(registry: str) -> str:
    docker, tag = find_docker(), f"{registry}/sample:1"
    environment = {"PATH": "/usr/bin:/bin:/usr/local/bin", **docker.environment}
    for argv in (["build", "-q", "-t", tag, str(SAMPLE)], ["push", "-q", tag]):
        subprocess.run([docker.path, *argv], check=True, capture_output=True, env=environment)
    argv = [docker.path, "image", "inspect", "--format", "{{json .RepoDigests}}", tag]
    known = json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
    (image,) = [one for one in known if one.startswith(f"{registry}/")]  # others may have pushed the same
    subprocess.run([docker.path, "image", "rm", "--no-prune", tag], check=True, capture_output=True)
    return str(image)
