"""What the flows ask of wherever an environment's releases run. One provider per file beside this one."""

from collections.abc import Callable, Sequence
from typing import Protocol

from blocks.secrets import Secrets
from releases.desired import ServiceDesired
from releases.release import Release
from releases.status import NodeStatus, ServiceStatus


def no_check() -> None:
    """Nothing to look at while waiting."""


class Target(Protocol):
    """One node or many, seen as one: a generation is on all of them, or taken back from all of them."""

    def url(self, port: int, host: str = "") -> str:
        """Where users find the service with this port, by that name if it has one."""

    def urls(self, port: int) -> Sequence[str]:
        """Where each node's edge answers for the service with this port."""

    def ensure_node(self, *, going_back: bool = False) -> None:
        """See that every node's edge answers, before anything is built. Raises Unreachable, Refused.

        `going_back`: one that is switched off is left out, and said.
        """

    def service_port(
        self, service: str, wanted: int | None, hosts: tuple[str, ...] = (), *, tls: bool = False
    ) -> int:
        """The service's port at the edge; with hosts, one to share; TLS has others. Raises Refused."""

    def answer_challenges(self, thumbprint: str, port: int) -> Sequence[str]:
        """Tell every node's edge to answer for this ACME account; where they will, at this plain port.

        Raises Refused where there is none.
        """

    @property
    def secrets(self) -> Secrets:
        """The environment's secrets, as this machine reads and writes them."""

    def waves(self) -> "Sequence[Target]":
        """The nodes in the order they are released to, each part a target of its own."""

    def desired(self, service: str) -> ServiceDesired:
        """What is desired of the service now; of many nodes, what was desired last."""

    def propose(self, release: Release, key_sha256: str) -> int:
        """Put the release on trial; its generation, the same for every wave. Raises Refused, Superseded."""

    def ask_with(self, token: str) -> None:
        """Show the candidate's secret when asking: who has it is told a failed one's last words."""

    def shift(self, service: str, generation: int, traffic: int) -> None:
        """Give the candidate more or less traffic. Raises Superseded."""

    def window(self, release: Release) -> float:
        """Seconds after which a node takes the candidate back by itself, if nobody confirms or renews."""

    def renew(self, service: str, generation: int) -> None:
        """Have the confirm windows of nodes that serve the candidate counted anew. Raises Superseded."""

    def confirm(self, service: str, generation: int) -> None:
        """Make the candidate the confirmed release. Raises Superseded."""

    def revert(self, service: str, generation: int) -> int:
        """Take the candidate back; returns the new generation. Raises Superseded."""

    def put_back(self, service: str, generation: int, former: Release | None) -> int:
        """Make the former release the confirmed one again; the new generation. Raises Superseded."""

    def status(self, service: str) -> ServiceStatus:
        """What the nodes say of the service, as one."""

    def nodes(self) -> Sequence[NodeStatus]:
        """What each node says of itself. Raises Unreachable."""

    def wait_for(
        self,
        service: str,
        generation: int,
        arrived: Callable[[ServiceStatus], bool],
        seconds: float,
        check: Callable[[], None] = no_check,
    ) -> ServiceStatus:
        """Wait until every node reports it. Raises Failed when one is reverted, Unreachable when late."""
