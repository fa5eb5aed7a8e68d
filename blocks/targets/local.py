"""The local engine as a target: one node, this machine."""

import socket
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import docker
import httpx
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from prefect.blocks.core import Block
from pydantic import Field, ValidationError

from blocks.light_block import LightBlock
from blocks.secrets import SecretFiles, Secrets
from blocks.targets import desired_file, local_folders, local_ports
from blocks.targets.edges import Edges
from blocks.targets.failure import failed
from blocks.targets.local_network import ensure_network
from blocks.targets.target import Target, no_check
from releases import desired as desire
from releases import place
from releases.desired import ServiceDesired
from releases.problem import Failed, Refused, Unreachable
from releases.release import Release
from releases.status import STATUS_PATH, NodeStatus, Phase, ServiceStatus
from releases.wrong_value import briefly

LABEL = "model-deploy.node"
ARGUMENTS = "model-deploy.arguments"
UP_SECONDS = 40.0
POLL_SECONDS = 0.03


class LocalTarget(LightBlock, Block):
    """Runs an environment's releases on the local container engine, through the agent."""

    _block_type_name = "Local Target"
    _block_type_slug = "local-target"

    type: Literal["local"] = "local"
    home: Path
    node: str = "model-deploy"
    ports: list[int]
    tls_ports: list[int] = Field(default_factory=list, description="The edge's ports where TLS ends.")
    agent_image: str
    edge_image: str = "model-deploy/haproxy:local"

    @property
    def folder(self) -> Path:
        """What the controllers and the agent share."""
        return self.home / "node"

    def url(self, port: int, host: str = "") -> str:
        """Where the edge answers; by a name that leads here, such as iris.localhost, it is for people."""
        return f"{'https' if port in self.tls_ports else 'http'}://{host or '127.0.0.1'}:{port}"

    def urls(self, port: int) -> Sequence[str]:
        """The one edge."""
        return [self.url(port)]

    @property
    def secrets(self) -> Secrets:
        """Files that the agent reads."""
        return SecretFiles(self.home / "secrets")

    def answer_challenges(self, thumbprint: str, port: int) -> Sequence[str]:
        """Name the account in the one document. Raises Refused."""
        urls = [self.url(place.challenge_port(port, self.ports))]
        desired_file.answer_challenges(self.folder, thumbprint)
        return urls

    def waves(self) -> Sequence[Target]:
        """One wave of one node."""
        return [self]

    def ensure_node(self, *, going_back: bool = False) -> None:  # noqa: ARG002 - the protocol's
        """Have the agent and its edge running, and answering. Raises Unreachable, Failed."""
        client = self._client()
        try:
            with desired_file.locked(self.folder):  # two services' first releases may begin at once
                self._ensure_agent(client)
        except DockerException as error:
            raise Failed("the node cannot be set up", where=self.node, got=str(error)[:400]) from error
        self.check_reachable(UP_SECONDS)

    def check_reachable(self, seconds: float = 3.0) -> None:
        """Ask the edge for the node's status. Raises Unreachable."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                httpx.get(f"{self.url(self.ports[0])}{STATUS_PATH}", timeout=2).raise_for_status()
            except httpx.HTTPError as error:
                if time.monotonic() > deadline:
                    raise Unreachable(
                        "the node's edge does not answer",
                        where=f"{self.url(self.ports[0])}{STATUS_PATH}",
                        expected=f"200 within {seconds:.0f} s",
                        got=str(error),
                        next_step=f"docker logs {self.node}-agent; docker logs {self.node}-edge",
                    ) from error
                time.sleep(0.1)
            else:
                return

    def remove_node(self) -> None:
        """Take everything away that belongs to the node: containers, volumes, network."""
        client = self._client()
        mine: Any = {"label": f"{LABEL}={self.node}"}
        for name in (f"{self.node}-agent", None):  # the agent first, or it brings the others back
            for container in client.containers.list(all=True, filters=mine, ignore_removed=True):
                if name in {None, container.name}:
                    _quietly(partial(container.remove, force=True, v=True))
        for volume in client.volumes.list(filters=mine):
            _quietly(partial(volume.remove, force=True))
        for network in client.networks.list(filters=mine):
            _quietly(network.remove)

    def service_port(
        self, service: str, wanted: int | None, hosts: tuple[str, ...] = (), *, tls: bool = False
    ) -> int:
        """The service's port at the edge, chosen once. Raises Refused."""
        ports = place.ports_for(service, self.ports[1:], self.tls_ports, tls=tls)
        return local_ports.choose(self.folder, service, wanted, hosts, ports)

    def desired(self, service: str) -> ServiceDesired:
        """What is desired of the service now."""
        return desired_file.read(self.folder).of(service)

    def propose(self, release: Release, key_sha256: str) -> int:
        """Put the release on trial; returns its generation. Raises Refused."""
        status = self.status(release.service)

        def make(now: ServiceDesired) -> ServiceDesired:
            over = status.generation == now.generation and status.phase is Phase.reverted
            return desire.propose(now, release, key_sha256, reverted=over)

        return desired_file.change(
            self.folder, release.service, make, lambda now: place.check(release, place.taken(now))
        ).generation

    def ask_with(self, token: str) -> None:
        """Not needed: the status is a file of ours, which has everything."""

    def shift(self, service: str, generation: int, traffic: int) -> None:
        """Give the candidate more or less traffic. Raises Superseded."""
        desired_file.change(self.folder, service, lambda now: desire.shift(now, generation, traffic))

    def window(self, release: Release) -> float:
        """The release's own."""
        return release.confirm_window

    def renew(self, service: str, generation: int) -> None:
        """Have the candidate's confirm window counted anew. Raises Superseded."""
        desired_file.change(self.folder, service, lambda now: desire.renew(now, generation))

    def confirm(self, service: str, generation: int) -> None:
        """Make the candidate the confirmed release. Raises Superseded."""
        desired_file.change(self.folder, service, lambda now: desire.confirm(now, generation))

    def revert(self, service: str, generation: int) -> int:
        """Take the candidate back; returns the new generation. Raises Superseded."""
        return desired_file.change(
            self.folder, service, lambda now: desire.revert(now, generation)
        ).generation

    def put_back(self, service: str, generation: int, former: Release | None) -> int:
        """Make the former release the confirmed one again; the new generation. Raises Superseded."""

        def make(now: ServiceDesired) -> ServiceDesired:
            return desire.put_back(now, generation, former)

        return desired_file.change(self.folder, service, make).generation

    def status(self, service: str) -> ServiceStatus:
        """What the agent says of the service."""
        return self.node_status().services.get(service, ServiceStatus())

    def nodes(self) -> Sequence[NodeStatus]:
        """The one node; its agent is asked how old the file is. Raises Unreachable."""
        shown = Edges().ask({self.node: self.url(self.ports[0])})[self.node]
        age = shown.age if isinstance(shown, NodeStatus) else None
        return [self.node_status().model_copy(update={"age": age})]

    def node_status(self) -> NodeStatus:
        """What the agent says of the node. Raises Unreachable."""
        try:
            return NodeStatus.model_validate_json((self.folder / "status.json").read_bytes())
        except FileNotFoundError:
            return NodeStatus.model_validate({"node": self.node, "at": 0})
        except ValidationError as error:
            raise Unreachable(
                "the node's status cannot be read", where=self.node, got=briefly(error)
            ) from error

    def wait_for(
        self,
        service: str,
        generation: int,
        arrived: Callable[[ServiceStatus], bool],
        seconds: float,
        check: Callable[[], None] = no_check,
    ) -> ServiceStatus:
        """Wait until the node reports it. Raises Failed when it is reverted, Unreachable when late."""
        deadline = time.monotonic() + seconds
        while True:
            status = self.status(service)
            if generation in status.reverted:
                raise failed(service, status.reverted[generation])
            if status.generation >= generation and arrived(status):
                return status
            if time.monotonic() > deadline:
                raise Unreachable(
                    f"the node has not come far enough with {service}",
                    expected=f"within {seconds:.0f} s",
                    got=f"generation {status.generation}, phase {status.phase} {status.message}".strip(),
                    next_step=f"docker logs {self.node}-agent",
                )
            check()
            time.sleep(POLL_SECONDS)

    def _client(self) -> docker.DockerClient:
        try:
            client = docker.from_env(timeout=60)
            client.ping()
        except DockerException as error:
            raise Unreachable(
                "the container engine does not answer", got=str(error)[:200], next_step="model-deploy doctor"
            ) from error
        return client

    def _ensure_agent(self, client: docker.DockerClient) -> None:
        name = f"{self.node}-agent"
        subnet = ensure_network(client, self.node, {LABEL: self.node})
        arguments = ["--node", self.node, "--ports", ",".join(str(port) for port in self.ports)]
        if self.tls_ports:
            arguments += ["--tls-ports", ",".join(str(port) for port in self.tls_ports)]
        arguments += ["--edge-image", self.edge_image, "--models", str(self.home / "models")]
        arguments += ["--image", self.agent_image]
        binds = local_folders.binds(self.home, self.node)
        try:
            key = " ".join([f"{client.images.get(self.agent_image).id}", *arguments, *binds])
        except ImageNotFound as error:
            raise Refused(
                f"the agent's image {self.agent_image} is not on this machine", next_step="model-deploy up"
            ) from error
        try:
            found = client.containers.get(name)
            if found.labels.get(ARGUMENTS) == key:
                if found.status != "running":
                    found.start()
                return
            found.remove(force=True)  # another agent takes over; whatever serves goes on
        except NotFound:
            pass
        self._check_ports_free(client)
        self._start_agent(client, name, f"{subnet}.2", arguments, binds, key)

    def _check_ports_free(self, client: docker.DockerClient) -> None:
        """Before the edge exists: a port that another program has is said now, by name of the port."""
        if client.containers.list(all=True, filters={"name": f"^{self.node}-edge$"}):
            return
        for port in [*self.ports, *self.tls_ports]:
            with socket.socket() as one:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    one.bind(("127.0.0.1", port))
                except OSError as error:
                    raise Refused(
                        f"port {port} is taken by another program",
                        expected="the local edge's ports are free",
                        next_step=f"stop it, or delete {self.home / 'machine.json'} to choose others",
                    ) from error

    def _start_agent(
        self,
        client: docker.DockerClient,
        name: str,
        address: str,
        arguments: list[str],
        binds: list[str],
        key: str,
    ) -> None:
        api: Any = client.api
        for volume in (f"{self.node}-state", f"{self.node}-edge"):
            client.volumes.create(volume, labels={LABEL: self.node})
        local_folders.make(self.home)
        created = api.create_container(
            self.agent_image,
            command=arguments,
            name=name,
            labels={LABEL: self.node, ARGUMENTS: key},
            host_config=api.create_host_config(
                binds=[*binds, f"{client.info()['DockerRootDir']}/containers:/containers:ro"],
                init=True,
                restart_policy={"Name": "always"},
                log_config={"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
            ),
            networking_config=api.create_networking_config(
                {self.node: api.create_endpoint_config(ipv4_address=address)}
            ),
        )
        api.start(created["Id"])


def _quietly(remove: Callable[[], Any]) -> None:
    """Gone already is as good."""
    try:
        remove()
    except APIError:
        return
