"""A sandbox whose VMs boot simulated agents, and a target that releases to them."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.agents import Agents
from bench.agents import running as running_agents
from blocks.targets.compute_engine import ComputeEngineInstances
from deployments.machine.home import free_ports
from releases.release import Release
from releases.status import RELEASE_HEADER, Phase, ServiceStatus
from sandbox.server import running
from sandbox.world import Settings, World
from tests.releases import test_swap
from tests.sandbox.conftest import ZONE, Cloud, eventually, metadata
from tests.sandbox.discovery import Inspector

KEY = hashlib.sha256(b"t").hexdigest()
SECONDS = 20.0


@dataclass
class Vms:
    """Some VMs with agents, and the steps of releasing the service `iris` on them."""

    cloud: Cloud
    agents: Agents
    token: Path
    editor: httpx.Client
    boots: Any  # what the VMs boot
    names: list[str] = field(default_factory=list)

    def add(self, *names: str, **items: str) -> None:
        for name in names:
            self.cloud.vm(name, labels={"service": "iris"}, metadata=metadata(**items))
            self.names.append(name)
        eventually(lambda: all(name in self.agents.of and self.agents.of[name].edge for name in names))

    def target(self, **fields: Any) -> ComputeEngineInstances:
        given = {
            "project": self.cloud.project,
            "zones": [ZONE],
            "labels": {"service": "iris"},
            "ports": [self.agents.port],
            "endpoint": self.cloud.at.api,
            "access_token_file": self.token,
            **fields,
        }
        return ComputeEngineInstances(**given)

    def release(self, number: int, **run: object) -> Release:
        made = test_swap.release(number, **run)
        return made.model_copy(update={"confirm_window": 60.0, "public_port": self.agents.port})

    def on_trial(self, target: Any, number: int) -> int:
        """In every wave, with all traffic; not confirmed."""
        generation = 0
        for wave in target.waves():
            generation = wave.propose(self.release(number), KEY)
            wave.wait_for("iris", generation, is_in(Phase.verify), SECONDS)
            wave.shift("iris", generation, 100)
            wave.wait_for("iris", generation, is_in(Phase.bake), SECONDS)
        return generation

    def confirmed(self, target: Any, number: int) -> int:
        generation = self.on_trial(target, number)
        target.confirm("iris", generation)
        target.wait_for("iris", generation, lambda one: one.confirmed_generation == generation, SECONDS)
        return generation

    def live(self) -> dict[str, str]:
        """The release that answers on each VM's own address."""
        urls = {name: f"http://{self.agents.of[name].vm.address}:{self.agents.port}" for name in self.names}
        return {name: httpx.get(url).headers.get(RELEASE_HEADER, "") for name, url in urls.items()}

    def metadata_of(self, name: str) -> dict[str, str]:
        return self.agents.of[name].vm.metadata()

    def metadata_of_any(self, name: str) -> dict[str, str]:
        """Of a VM that need not have our agent."""
        return self.cloud.world.instances[self.cloud.project, ZONE, name].metadata()

    def edit(self, name: str, **items: str) -> None:
        """What another person does meanwhile: set keys, as `gcloud … add-metadata` does."""
        path = f"/compute/v1/projects/{self.cloud.project}/zones/{ZONE}/instances/{name}"
        while True:
            now = self.editor.get(path).json()["metadata"]
            wanted = {**{item["key"]: item["value"] for item in now.get("items", [])}, **items}
            body = {
                "fingerprint": now["fingerprint"],
                "items": [{"key": key, "value": value} for key, value in wanted.items()],
            }
            answer = self.editor.post(f"{path}/setMetadata", json=body)
            if answer.status_code != 412:
                answer.raise_for_status()
                return


def is_in(phase: Phase) -> Any:
    def arrived(status: ServiceStatus) -> bool:
        return status.phase is phase

    return arrived


@contextmanager
def running_vms(folder: Path, boots: Callable[[Agents], Any] = lambda agents: agents) -> Iterator[Vms]:
    with running_agents(free_ports(1)[0]) as agents:
        machine = boots(agents)
        world = World(Settings(pending_seconds=0.01, running_seconds=0.02), machine)
        agents.metadata_port = lambda: world.network.port
        inspectors: list[Inspector] = []

        def inspect(app: Any) -> Any:
            inspectors.append(Inspector(app))
            return inspectors[0]

        with running(world, wrap=inspect) as at:
            (folder / "token").write_text(at.token)
            headers = {"Authorization": f"Bearer {at.token}"}
            with httpx.Client(base_url=at.api, headers=headers) as editor:
                yield Vms(Cloud(world, at), agents, folder / "token", editor, machine)
        assert not inspectors[0].wrong, "\n".join(inspectors[0].wrong)


@pytest.fixture
def vms(tmp_path: Path) -> Iterator[Vms]:
    with running_vms(tmp_path) as made:
        yield made
