"""Many machines as one target: found, read, asked over the network. What is released to them: fleet.py."""

import logging
import time
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, PrivateAttr

from blocks.google_api import GoogleApi
from blocks.targets.compute_api import Vm
from blocks.targets.edges import answered
from blocks.targets.node import Known, Node
from blocks.targets.silence import lost
from releases import fleet
from releases.desired import ServiceDesired
from releases.node_boot import DESIRED_KEY
from releases.problem import Refused, Unreachable
from releases.status import NodeStatus

REACH_SECONDS = 10.0
READ_AGAIN = 5.0  # seconds that one reading of the VMs is good for; a write is refused if it is stale

log = logging.getLogger("model_deploy.steps")


class Machines(GoogleApi):
    """What every target of many nodes has; the subclasses say how they are found."""

    project: str
    secrets_endpoint: str | None = Field(None, description="As `endpoint`, for Secret Manager.")
    ports: list[int] = Field([80], min_length=1, description="The edge's ports; services get them in turn.")
    tls_ports: list[int] = Field(default_factory=list, description="The edge's ports where TLS ends.")
    address: Literal["internal", "external"] = Field(
        "internal", description="Which of a VM's addresses is asked; external only without a worker inside."
    )
    service_url: str | None = Field(None, description="Where users come in, if that is a load balancer.")
    max_unavailable: int = Field(1, ge=1, description="Nodes in a wave, after the first of one.")

    _known: Known = PrivateAttr(default_factory=Known)
    _only: tuple[str, ...] | None = PrivateAttr(None)

    @abstractmethod
    def _find(self) -> list[Node]:
        """Every node, in the order of the waves."""

    def _absent(self) -> list[Refused]:
        """The machines, read last, that cannot be released to, each with what to do about it."""
        return []

    @abstractmethod
    def _nobody(self) -> Refused:
        """There is no node."""

    @abstractmethod
    def _way_in(self) -> str:
        """What to type to give the edges a route."""

    def url(self, port: int, host: str = "") -> str:
        """The load balancer's if there is one, else the first node's; with a name, by that."""
        if host:
            front = urlsplit(self.service_url or self._url(host, port))
            return front._replace(netloc=front.netloc.replace(front.hostname or host, host)).geturl()
        return self.service_url or self.urls(port)[0]

    def urls(self, port: int) -> Sequence[str]:
        """Every node's own edge."""
        return [self._url(node.address, port) for node in self._mine() if not node.off]

    def ensure_node(self, *, going_back: bool = False) -> None:
        """Ask every node's edge for its status, at every plain port. Raises Refused, Unreachable."""
        self._check_machines(going_back=going_back)
        nodes = running(self._known.nodes)
        urls = {
            f"{name} at {url}": url
            for name, node in nodes.items()
            for url in (self._url(node.address, port) for port in self.ports)
        }
        silent = self._known.edges.silent(urls, REACH_SECONDS)
        if silent:
            first, behind = min(silent), {one.partition(" at ")[0] for one in silent}
            raise Unreachable(
                f"the edges of {len(behind)} of {len(nodes)} nodes do not answer",
                where=", ".join(sorted(silent)[:5]),
                expected=f"an agent's status within {REACH_SECONDS:.0f} s",
                got=silent[first],
                next_step=self._way_in(),
            )

    def ask_with(self, token: str) -> None:
        """Show the candidate's secret when asking, in every wave."""
        self._known.edges.show(token)

    def waves(self) -> Sequence[Self]:
        """One node first, then `max_unavailable` at a time; last those that are off and only written to."""
        names = sorted(self._read(), key=lambda name: bool(self._known.nodes[name].off))
        return [self._part(part) for part in fleet.split(names, self.max_unavailable)]

    def _check_machines(self, *, going_back: bool = False) -> None:
        """See that all machines are on; on the way back some will do. Raises Refused."""
        if not self._read():
            raise self._nobody()
        absent = self._absent()
        if absent and (not going_back or not running(self._known.nodes)):
            raise absent[0]
        for problem in absent:
            log.warning("%s: it is left out of the way back, which it finds when it starts", problem.what)

    def _check_alone(self, service: str, name: str, why: str) -> None:
        """A node has been silent for long. Raises Unreachable if it is the node, not the network here."""
        nodes = {node.id: node for node in self._find()}
        if name not in nodes or nodes[name].off:
            state = nodes[name].off if name in nodes else "gone"
            raise lost(service, name, f"the machine is {state}", self.project)
        others = {one: node for one, node in running(nodes).items() if one != name}
        if answered(self._known.edges.ask(self._status_urls(others)), others):
            raise lost(service, name, why, self.project)

    def _node(self, vm: Vm) -> Node:
        off = "" if vm.status == "RUNNING" else vm.status
        return Node(vm.id, self._address(vm), vm.metadata.get(DESIRED_KEY, ""), vm.network, off)

    def _address(self, vm: Vm) -> str:
        return vm.internal if self.address == "internal" else vm.external or vm.internal

    def _url(self, address: str, port: int) -> str:
        scheme, usual = ("https", 443) if port in self.tls_ports else ("http", 80)
        return f"{scheme}://{address}" + ("" if port == usual else f":{port}")

    def _part(self, names: Iterable[str]) -> Self:
        part = self.model_copy()  # shares what is known
        part._only = tuple(names)  # noqa: SLF001 - it is one of us
        return part

    def _read(self, *, again: bool = True) -> dict[str, Node]:
        """Every node of the whole fleet; read again when the last reading is old or was written to."""
        known = self._known
        old = again and time.monotonic() - known.read_at > READ_AGAIN
        if old or not known.nodes:
            known.nodes = {node.id: node for node in self._find()}
            known.read_at = time.monotonic()
        return known.nodes

    def _mine(self) -> list[Node]:
        nodes = self._read(again=False)
        return [node for node in nodes.values() if self._only is None or node.id in self._only]

    def _mine_of(self, service: str) -> dict[str, ServiceDesired]:
        self._read()
        return {node.id: node.desired.of(service) for node in self._mine()}

    def _on(self, service: str, generation: int, *, again: bool = True) -> dict[str, ServiceDesired]:
        """The parts of those nodes that this generation was written to. Raises Superseded if none."""
        self._read(again=again)
        parts = {node.id: node.desired.of(service) for node in self._mine()}
        found = {name: part for name, part in parts.items() if part.generation == generation}
        if not found:
            fleet.taken_back(list(parts.values()), generation)
        return found

    def _routes(self, project: str) -> str:
        network = next((node.network for node in self._known.nodes.values() if node.network), "default")
        allowed = ",".join(f"tcp:{port}" for port in self.ports)
        outside = (
            "say `address: external` in the environments' file and " if self.address == "internal" else ""
        )
        return (
            "run the worker inside the VPC (a Prefect worker on a small VM in the same network), "
            f"or {outside}open the ports to this machine: gcloud compute firewall-rules create "
            f"model-deploy-status --project={project} --network={network} --allow={allowed} "
            "--source-ranges=MY_ADDRESS/32"
        )

    def _ask(self) -> dict[str, NodeStatus | str]:
        self._read(again=False)
        nodes = {node.id: node for node in self._mine()}
        answers = self._known.edges.ask(self._status_urls(running(nodes)))
        return {name: answers.get(name, f"the machine is {node.off}") for name, node in nodes.items()}

    def _status_urls(self, nodes: Mapping[str, Node]) -> dict[str, str]:
        return {name: self._url(node.address, self.ports[0]) for name, node in nodes.items()}


def running(nodes: Mapping[str, Node]) -> dict[str, Node]:
    """Those whose machine is on."""
    return {name: node for name, node in nodes.items() if not node.off}
