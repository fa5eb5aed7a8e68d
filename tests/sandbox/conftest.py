"""A sandbox of its own for each test, with the real client libraries, every word checked."""

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from google.cloud import compute_v1 as compute
from google.oauth2.credentials import Credentials

from sandbox.server import Addresses, running
from sandbox.world import Settings, World
from tests.sandbox.discovery import Inspector

ZONE = "europe-west1-b"
REGION = "europe-west1"
DEADLINE = 10.0


def eventually(condition: Callable[[], bool], seconds: float = DEADLINE) -> None:
    """Wait for it, at most so long."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


@dataclass
class Cloud:
    """A running sandbox, its clients and its insides."""

    world: World
    at: Addresses
    names: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def project(self) -> str:
        return self.at.project

    def client(self, kind: Callable[..., Any], token: str = "") -> Any:
        """A client of google-cloud-compute."""
        credentials = Credentials(token or self.at.token)
        return kind(credentials=credentials, client_options={"api_endpoint": self.at.api})

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """A request of our own, as the owner."""
        headers = {"Authorization": f"Bearer {self.at.token}", **options.pop("headers", {})}
        return httpx.request(method, self.at.api + path, headers=headers, **options)

    def fault(self, kind: str, **options: Any) -> None:
        httpx.post(f"{self.at.api}/sandbox/faults", json={"kind": kind, **options}).raise_for_status()

    def pass_time(self, seconds: float) -> None:
        httpx.post(f"{self.at.api}/sandbox/clock", json={"seconds": seconds}).raise_for_status()

    def token(self, member: str, seconds: float = 3600) -> str:
        wanted = {"member": member, "seconds": seconds}
        return str(httpx.post(f"{self.at.api}/sandbox/tokens", json=wanted).json()["access_token"])

    def done(self, operation: compute.Operation) -> compute.Operation:
        """The operation at its end, by the client that fits its place."""
        place: dict[str, str] = {}
        kind: Any = compute.GlobalOperationsClient
        if operation.zone:
            kind, place = compute.ZoneOperationsClient, {"zone": operation.zone.rpartition("/")[2]}
        elif operation.region:
            kind, place = compute.RegionOperationsClient, {"region": operation.region.rpartition("/")[2]}
        found = self.client(kind).wait(project=self.project, operation=operation.name, **place)
        assert found.status == compute.Operation.Status.DONE
        return found

    def vm(self, name: str = "", **fields: Any) -> compute.Instance:
        """A running VM."""
        instances = self.client(compute.InstancesClient)
        wanted = instance(name or f"vm-{next(self.names)}", **fields)
        operation = self.done(
            instances.insert_unary(project=self.project, zone=ZONE, instance_resource=wanted)
        )
        assert not operation.error.errors
        return instances.get(project=self.project, zone=ZONE, instance=wanted.name)

    def on(self, vm: compute.Instance) -> str:
        """Where the VM's metadata server is."""
        return f"http://{vm.network_interfaces[0].network_i_p}:{self.world.network.port}/computeMetadata/v1"


def instance(name: str, **fields: Any) -> compute.Instance:
    image = compute.AttachedDiskInitializeParams(
        source_image="projects/cos-cloud/global/images/family/cos-stable"
    )
    return compute.Instance(
        name=name,
        machine_type=f"zones/{ZONE}/machineTypes/e2-standard-4",
        disks=[compute.AttachedDisk(boot=True, auto_delete=True, initialize_params=image)],
        network_interfaces=[compute.NetworkInterface(network="global/networks/default")],
        **fields,
    )


def metadata(**items: str) -> compute.Metadata:
    """Keys with underscores for dashes."""
    return compute.Metadata(items=[compute.Items(key=k.replace("_", "-"), value=v) for k, v in items.items()])


def start(settings: Settings) -> Iterator[Cloud]:
    inspectors: list[Inspector] = []

    def inspect(app: Any) -> Any:
        inspectors.append(Inspector(app))
        return inspectors[0]

    world = World(settings)
    with running(world, wrap=inspect) as at:
        yield Cloud(world, at)
    assert not inspectors[0].wrong, "\n".join(inspectors[0].wrong)


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    yield from start(Settings(pending_seconds=0.01, running_seconds=0.02))
