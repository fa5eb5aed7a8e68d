"""What tests with real containers share. Everything has a name of its own and is gone afterwards."""

import hashlib
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from blocks.docker_client import DockerClient, find_docker
from blocks.targets.local import LocalTarget
from deployments.machine.home import Home, free_ports
from deployments.machine.registry import ensure_registry
from releases.release import Release
from releases.spec import Run
from releases.status import Phase

SAMPLE = Path(__file__).parent / "sample"


@pytest.fixture(scope="session")
def docker_client() -> DockerClient:
    return find_docker()


@pytest.fixture(scope="session")
def registry(docker_client: DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The registry of script/test's home, or one of our own where pytest was called by hand."""
    node, port = f"md-test-{secrets.token_hex(3)}", free_ports(1)[0]
    yield ensure_registry(docker_client, node, port)
    subprocess.run([docker_client.path, "rm", "-fv", f"{node}-registry"], capture_output=True, check=False)
    subprocess.run([docker_client.path, "volume", "rm", f"{node}-registry"], capture_output=True, check=False)


@pytest.fixture(scope="session")
def sample_image(docker_client: DockerClient, registry: str) -> str:
    """The sample service, pushed: repository@digest."""
    tag = f"{registry}/sample:1"
    environment = {"PATH": "/usr/bin:/bin:/usr/local/bin", **docker_client.environment}
    for argv in (["build", "-q", "-t", tag, str(SAMPLE)], ["push", "-q", tag]):
        subprocess.run([docker_client.path, *argv], check=True, capture_output=True, env=environment)
    format_ = "{{index .RepoDigests 0}}"
    argv = [docker_client.path, "image", "inspect", "--format", format_, tag]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


@dataclass
class LocalNode:
    """A node on this machine with a service `sample`, released step by step."""

    target: LocalTarget
    image: str
    numbers: int = 0

    @property
    def port(self) -> int:
        return self.target.service_port("sample", None)

    def release(self, behaviour: str = "", window: float = 30, **run: object) -> Release:
        self.numbers += 1
        settings = {"health": {"path": "/healthz", "timeout": 10}, "stop_grace": 1, "drain": 5, **run}
        settings["env"] = {"BEHAVIOUR": behaviour, **settings.get("env", {})}
        return Release(
            service="sample",
            environment="local",
            number=self.numbers,
            image=self.image,
            version=str(self.numbers),
            port=8000,
            public_port=self.port,
            run=Run.model_validate(settings),
            confirm_window=window,
            created=datetime.now(UTC),
        )

    def propose(self, release: Release, token: str = "t") -> int:
        return self.target.propose(release, hashlib.sha256(token.encode()).hexdigest())

    def verified(self, release: Release, token: str = "t") -> int:
        generation = self.propose(release, token)
        self.target.wait_for("sample", generation, lambda s: s.phase is Phase.verify, 30)
        return generation

    def switched(self, release: Release) -> int:
        generation = self.verified(release)
        self.target.shift("sample", generation, 100)
        self.target.wait_for("sample", generation, lambda s: s.traffic == 100 and s.phase is Phase.bake, 30)
        return generation

    def confirmed(self, release: Release) -> int:
        generation = self.switched(release)
        self.target.confirm("sample", generation)
        self.target.wait_for("sample", generation, lambda s: s.confirmed_generation == generation, 30)
        return generation


@pytest.fixture
def node(tmp_path: Path, sample_image: str) -> Iterator[LocalNode]:
    name = f"md-test-{secrets.token_hex(3)}"
    home = Home(tmp_path / "home")
    home.prepare()
    target = LocalTarget(home=home.path, node=name, ports=free_ports(3))
    try:
        target.ensure_node()
        yield LocalNode(target, sample_image)
    finally:
        target.remove_node()
        shutil.rmtree(home.path, ignore_errors=True)
