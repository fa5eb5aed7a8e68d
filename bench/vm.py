"""A VM of the sandbox that really boots, and the steps of releasing the service `sample` on it."""

import hashlib
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import httpx

from blocks.docker_client import find_docker
from deployments.machine.home import free_ports
from deployments.machine.images import EDGE
from deployments.stack import ROOT
from releases import desired as desire
from releases.desired import Desired, ServiceDesired
from releases.node_boot import DESIRED_KEY, NodeBoot, node_user_data
from releases.release import Release
from releases.spec import Run
from releases.status import CANDIDATE_HEADER, RELEASE_HEADER, STATUS_PATH, NodeStatus, Phase, ServiceStatus
from sandbox.boot import ContainerMachine, gateway
from sandbox.boot.machine import hostname
from sandbox.server import Addresses, running
from sandbox.world import Settings, World

ZONE = "europe-west1-b"
COS = "projects/cos-cloud/global/images/family/cos-stable"
SECONDS = 120.0


def built_agent() -> str:
    """The agent's image from these sources, by its id: no other checkout can take its name."""
    docker = find_docker()
    argv = [docker.path, "build", "--quiet", "--file", "agent/Dockerfile", "."]
    environment = {"PATH": "/usr/bin:/bin:/usr/local/bin", **docker.environment}
    done = subprocess.run(argv, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@dataclass
class Cloud:
    """A sandbox whose VMs boot."""

    world: World
    at: Addresses
    http: httpx.Client

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        answer = self.http.request(method, path, **options)
        answer.raise_for_status()
        return answer

    def done(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """A request, and its operation's end."""
        operation = self.call(method, path, **options).json()
        where = "/compute/v1" + operation["selfLink"].partition("/compute/v1")[2]
        found = self.call("POST", f"{where}/wait")
        assert not found.json().get("error"), found.text
        return dict(found.json())

    def fault(self, kind: str, **options: Any) -> None:
        self.call("POST", "/sandbox/faults", json={"kind": kind, **options})

    @property
    def registry(self) -> str:
        """Its Artifact Registry, as the engine calls it."""
        return f"localhost:{self.at.api.rpartition(':')[2]}"

    @property
    def instances(self) -> str:
        return f"/compute/v1/projects/{self.at.project}/zones/{ZONE}/instances"

    def boot(self, name: str, boot: NodeBoot) -> "Vm":
        """A VM that has answered at its edge."""
        self.create(name, {"user-data": node_user_data(boot), "enable-guest-attributes": "TRUE"})
        vm = Vm(self, name, boot)
        vm.until(lambda: vm.node_status() is not None)
        return vm

    def create(self, name: str, metadata: dict[str, str]) -> None:
        items = [{"key": key, "value": value} for key, value in metadata.items()]
        body = {
            "name": name,
            "machineType": f"zones/{ZONE}/machineTypes/e2-standard-4",
            "disks": [
                {"boot": True, "initializeParams": {"sourceImage": "projects/cos-cloud/global/images/cos"}}
            ],
            "networkInterfaces": [{}],
            "serviceAccounts": [{"email": "default"}],
            "metadata": {"items": items},
        }
        self.done("POST", self.instances, json=body)


@dataclass
class Vm:
    """One VM; its controller is as simple as can be."""

    cloud: Cloud
    name: str
    boot: NodeBoot
    numbers: int = 0
    image: str = ""
    seen: dict[str, Any] = field(default_factory=dict)

    @property
    def resource(self) -> dict[str, Any]:
        return dict(self.cloud.call("GET", f"{self.cloud.instances}/{self.name}").json())

    @property
    def address(self) -> str:
        if not self.seen:
            self.seen = self.resource
        return str(self.seen["networkInterfaces"][0]["networkIP"])

    @property
    def host(self) -> str:
        """What everything of it on the engine begins with."""
        return hostname(next(vm for vm in self.cloud.world.instances.values() if vm.name == self.name))

    @property
    def console(self) -> str:
        return str(
            self.cloud.call("GET", f"{self.cloud.instances}/{self.name}/serialPort").json()["contents"]
        )

    def url(self, port: int | None = None) -> str:
        return f"http://{self.address}:{port or self.boot.ports[0]}"

    def node_status(self, token: str = "t") -> NodeStatus | None:
        """What the node says at its edge; None if it does not answer."""
        try:
            answer = self.cloud.http.get(
                self.url() + STATUS_PATH, headers={CANDIDATE_HEADER: token}, timeout=2
            )
        except httpx.HTTPError:
            return None
        return NodeStatus.model_validate_json(answer.content) if answer.is_success else None

    def status(self, service: str = "sample") -> ServiceStatus:
        found = self.node_status()
        return found.services.get(service, ServiceStatus()) if found else ServiceStatus()

    def until(self, condition: Callable[[], bool], seconds: float = SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"{self.node_status()}\n{self.console[-3000:]}"
            time.sleep(0.02)

    def power(self, verb: str) -> None:
        """reset, stop or start."""
        self.cloud.done("POST", f"{self.cloud.instances}/{self.name}/{verb}")

    def put(self, **items: str | None) -> None:
        """Change metadata keys, dashes written as underscores; None removes one."""
        metadata = self.resource["metadata"]
        values = {item["key"]: item["value"] for item in metadata.get("items", [])}
        given = {name.replace("_", "-"): value for name, value in items.items()}
        merged = {key: value for key, value in {**values, **given}.items() if value is not None}
        wanted = [{"key": key, "value": value} for key, value in merged.items()]
        body = {"fingerprint": metadata["fingerprint"], "items": wanted}
        self.cloud.done("POST", f"{self.cloud.instances}/{self.name}/setMetadata", json=body)

    def desired(self) -> Desired:
        items = {item["key"]: item["value"] for item in self.resource["metadata"].get("items", [])}
        return Desired.model_validate_json(items.get(DESIRED_KEY, "{}"))

    def change(self, make: Callable[[ServiceDesired], ServiceDesired], service: str = "sample") -> int:
        document = self.desired()
        wanted = make(document.of(service))
        self.put(model_deploy=document.with_service(service, wanted).model_dump_json())
        return wanted.generation

    def release(self, behaviour: str = "", window: float = 30, **run: object) -> Release:
        self.numbers += 1
        health = {"path": "/healthz", "timeout": 20}
        settings = {"health": health, "stop_grace": 1, "drain": 5, "env": {"BEHAVIOUR": behaviour}, **run}
        return Release(
            service="sample",
            environment="staging",
            number=self.numbers,
            image=self.image,
            version=str(self.numbers),
            port=8000,
            public_port=self.boot.ports[0],
            run=Run.model_validate(settings),
            confirm_window=window,
            created=datetime.now(UTC),
        )

    def proposed(self, release: Release, token: str = "t") -> int:
        key = hashlib.sha256(token.encode()).hexdigest()
        over = self.status().phase is Phase.reverted
        return self.change(lambda now: desire.propose(now, release, key, reverted=over))

    def verified(self, release: Release) -> int:
        generation = self.proposed(release)
        self.until(lambda: self.at(generation).phase is Phase.verify)
        return generation

    def switched(self, release: Release) -> int:
        generation = self.verified(release)
        self.change(lambda now: desire.shift(now, generation, 100))
        self.until(lambda: self.at(generation).phase is Phase.bake and self.at(generation).traffic == 100)
        return generation

    def confirmed(self, release: Release) -> int:
        generation = self.switched(release)
        self.change(lambda now: desire.confirm(now, generation))
        self.until(lambda: self.at(generation).confirmed_generation == generation)
        return generation

    def settled(self) -> None:
        """A release is confirmed, live and alone; the last one again if it is so already."""
        self.until(lambda: self.node_status() is not None)
        now = self.desired().of("sample")
        if now.candidate is not None:
            self.change(lambda now: desire.revert(now, now.generation))
        if now.confirmed is None:
            self.confirmed(self.release())
        self.until(lambda: self.status().phase is Phase.live and self.status().live == self.confirmed_number)

    @property
    def confirmed_number(self) -> int:
        confirmed = self.desired().of("sample").confirmed
        return confirmed.number if confirmed else 0

    def live(self) -> int:
        """The release that answers a user; 0 if nothing does."""
        try:
            answer = self.cloud.http.get(self.url(), timeout=2)
        except httpx.HTTPError:
            return 0
        return int(answer.headers.get(RELEASE_HEADER, 0)) if answer.is_success else 0

    def docker(self, *words: str) -> str:
        done = subprocess.run(["docker", *words], check=True, capture_output=True, text=True)
        return done.stdout

    def kill_agent(self) -> None:
        """As soon as there is one: its unit starts it again after each kill."""
        argv = ["docker", "kill", f"{self.host}-agent"]
        self.until(lambda: subprocess.run(argv, capture_output=True, check=False).returncode == 0)

    def containers(self) -> list[str]:
        """The service's, running or not."""
        labels = [f"label=model-deploy.node={self.host}", "label=model-deploy.service"]
        filters = [part for label in labels for part in ("--filter", label)]
        return self.docker("ps", "--all", "--format", "{{.Names}}", *filters).split()

    def at(self, generation: int) -> ServiceStatus:
        """The status, if it is about this generation."""
        status = self.status()
        assert generation not in status.reverted, status.reverted[generation]
        return status if status.generation == generation else ServiceStatus()


@contextmanager
def cloud(registry: str = "") -> Iterator[Cloud]:
    """`registry`: where its Artifact Registry has the images."""
    folder = Path(mkdtemp(prefix="model-deploy-sandbox-"))
    settings = Settings(pending_seconds=0.01, running_seconds=0.02, inside=gateway(), registry=registry)
    world = World(settings, ContainerMachine(folder))
    try:
        with running(world) as at:
            headers = {"Authorization": f"Bearer {at.token}"}
            with httpx.Client(base_url=at.api, headers=headers, timeout=60) as http:
                yield Cloud(world, at, http)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def node_boot(agent: str, registry: str, ports: int = 2, **more: Any) -> NodeBoot:
    return NodeBoot(
        agent_image=agent, edge_image=EDGE, registry=registry, ports=tuple(free_ports(ports)), **more
    )
