"""A managed instance group as a target: what its VMs want is the group's all-instances configuration."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Literal, Self

from pydantic import model_validator

from blocks.targets.compute_api import Compute, Conflict
from blocks.targets.fleet import Fleet
from blocks.targets.group_api import GroupApi
from blocks.targets.node import Node
from releases import fleet
from releases.desired import ServiceDesired
from releases.node_boot import DESIRED_KEY
from releases.problem import Problem, Refused

ATTEMPTS = 5


class ManagedInstanceGroup(Fleet):
    """Google's own engine for fleets: a VM that appears next year boots into the current release.

    The group's configuration is one document for all; which VMs have it is decided by applying it to the
    wave at hand, so the group must not roll changes out by itself (update type OPPORTUNISTIC).
    """

    _block_type_name = "Managed Instance Group"
    _block_type_slug = "managed-instance-group"

    type: Literal["managed-group"] = "managed-group"
    group: str
    zone: str | None = None
    region: str | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.zone is None) == (self.region is None):
            raise ValueError("give the group's zone, or its region if it is a regional one")
        return self

    @cached_property
    def _compute(self) -> Compute:
        return Compute(self, self.project)

    @cached_property
    def _api(self) -> GroupApi:
        return GroupApi(self._compute, self.group, self.zone, self.region)

    def _find(self) -> list[Node]:
        group, members = self._api.read(), self._api.members()
        if group.proactive:
            raise Refused(
                f"the group {self.group} rolls changes out by itself",
                self._api.path,
                expected="update type opportunistic: then the waves are ours, and what fails goes back",
                next_step=f"gcloud compute instance-groups managed update {self.group} "
                f"--update-policy-type=opportunistic {self._api.flags}",
            )
        zones = sorted({one.partition("/")[0] for one in members})
        found = self._compute.vms(zones, f'name eq "{group.base}-.*"')
        return [self._node(vm) for vm in found if vm.id in members]

    def _absent(self) -> list[Refused]:
        return [
            Refused(
                f"VM {node.id} is not running",
                self._api.path,
                got=node.off,
                next_step="wait until it runs: gcloud compute instance-groups managed list-instances "
                f"{self.group} {self._api.flags}",
            )
            for node in self._mine()  # one that the group adds in mid-release boots into it
            if node.off
        ]

    def _write_each(
        self, service: str, wanted: Mapping[str, ServiceDesired]
    ) -> tuple[list[str], list[Problem]]:
        """Each different document: into the group's configuration, then to the VMs that shall have it."""
        nodes, written = self._known.nodes, list[str]()
        try:
            for document in _different(wanted):
                names = [name for name, one in wanted.items() if one == document]
                self._configure_service(service, nodes[names[0]].desired.of(service), document)
                self._bring_to(names)
                written += names
        except Problem as problem:
            return written, [problem]
        finally:
            self._written(service, {name: wanted[name] for name in written})
        return written, []

    def _write_account(self, nodes: Sequence[Node], thumbprint: str) -> None:
        self._configure(lambda text: fleet.answering(text, thumbprint))
        self._bring_to([node.id for node in nodes])

    def _configure_service(self, service: str, read: ServiceDesired, wanted: ServiceDesired) -> None:
        """Change our part of the group's document. Raises Superseded."""

        def make(text: str) -> str:
            now = fleet.parse(text).of(service)
            if now.generation > max(read.generation, wanted.generation):
                fleet.may_write(read, now)
            return fleet.document(text, service, wanted)

        self._configure(make)

    def _configure(self, make: Callable[[str], str]) -> None:
        """Change the group's document, whatever others change meanwhile. Raises Conflict."""
        for attempt in range(ATTEMPTS):
            group = self._api.read()
            wanted = make(group.metadata.get(DESIRED_KEY, ""))
            try:
                self._api.set_metadata(group, {**group.metadata, DESIRED_KEY: wanted})
            except Conflict:
                if attempt + 1 == ATTEMPTS:
                    raise
                continue
            return

    def _bring_to(self, names: list[str]) -> None:
        self._api.apply(names)
        on = [name for name in names if not self._known.nodes[name].off]
        self._api.wait_until(lambda: self._arrived(on), "the VMs do not get their configuration")

    def _arrived(self, names: list[str]) -> bool:
        """The wave has it; once everybody has been told, the group itself says so."""
        members = self._api.members()
        busy = any(members.get(name, "NONE") != "NONE" for name in names)
        return not busy and (set(names) < set(members) or self._api.read().effective)

    def _check_written(self) -> None:
        """Nothing is under way: every change was waited for."""

    def _write(self, node: Node, service: str, read: ServiceDesired, wanted: ServiceDesired) -> None:
        raise NotImplementedError

    def _nobody(self) -> Refused:
        return Refused(
            f"the group {self.group} has no VM",
            self._api.path,
            next_step=f"gcloud compute instance-groups managed resize {self.group} "
            f"--size=2 {self._api.flags}",
        )

    def _way_in(self) -> str:
        return self._routes(self.project)


def _different(wanted: Mapping[str, ServiceDesired]) -> list[ServiceDesired]:
    found: list[ServiceDesired] = []
    for one in wanted.values():
        if one not in found:
            found.append(one)
    return found
