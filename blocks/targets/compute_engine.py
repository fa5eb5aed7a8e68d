"""VMs on Compute Engine as a target: the desired state is an instance metadata key of each."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Literal

from pydantic import Field, PrivateAttr

from blocks.targets.compute_api import Compute, Conflict, Sent, Vm
from blocks.targets.fleet import WRITTEN_AT_ONCE, Fleet
from blocks.targets.node import Node
from releases import fleet
from releases.desired import ServiceDesired
from releases.node_boot import DESIRED_KEY
from releases.problem import Refused, Unreachable
from releases.status import NodeStatus

MOST_BYTES = 256 * 1024  # of one metadata value
WRITE_SECONDS = 60.0
OPERATION_SECONDS = 300.0  # a restart waits for the VM to shut down
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0


class ComputeEngineInstances(Fleet):
    """One or more VMs, by name or by label, each with the agent on it.

    Calls of the API for each VM and release: three writes, and its part of four lists of its zone. What
    came of a change is asked of the nodes; an operation is only looked at when a node does not follow.
    """

    _block_type_name = "Compute Engine Instances"
    _block_type_slug = "compute-engine-instances"

    type: Literal["compute-engine"] = "compute-engine"
    zones: list[str] = Field(min_length=1)
    names: list[str] = Field(default_factory=list, description="The VMs; or else, by label:")
    labels: dict[str, str] = Field(default_factory=dict, description="Those that have all of these.")

    _vms: dict[str, Vm] = PrivateAttr(default_factory=dict)
    _sent: dict[str, tuple[Sent, str]] = PrivateAttr(default_factory=dict)  # and what it was based on
    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    @cached_property
    def _compute(self) -> Compute:
        return Compute(self, self.project)

    @property
    def _filter(self) -> str:
        tests = [f'(labels.{key} = "{value}")' for key, value in sorted(self.labels.items())]
        names = " OR ".join(f'(name = "{name}")' for name in self.names)
        return " AND ".join([*tests, *([f"({names})"] if names else [])])

    def _find(self) -> list[Node]:
        found = self._settled(lambda: self._compute.vms(self.zones, self._filter))
        self._vms.clear()
        self._vms.update({vm.id: vm for vm in found})
        return [self._node(vm) for vm in found]

    def _absent(self) -> list[Refused]:
        there = {vm.name for vm in self._vms.values()}
        missing = [self._missing(name) for name in sorted(set(self.names) - there)]
        off = [
            Refused(
                f"VM {vm.id} is not running",
                self._where,
                got=vm.status,
                next_step=f"gcloud compute instances start {vm.name} "
                f"--zone={vm.zone} --project={self.project}",
            )
            for vm in self._vms.values()
            if vm.status != "RUNNING"
        ]
        return missing + off

    def _missing(self, name: str) -> Refused:
        command = f"gcloud compute instances list --project={self.project}"
        return Refused(f"VM {name} does not exist", self._where, next_step=command)

    def _write(self, node: Node, service: str, read: ServiceDesired, wanted: ServiceDesired) -> None:
        """Where others' parts change meanwhile, beside them. Raises Superseded."""

        def still_wanted(text: str) -> bool:
            now = fleet.parse(text).of(service)
            if now != wanted:
                fleet.may_write(read, now)
            return now != wanted

        self._change_document(node, lambda text: fleet.document(text, service, wanted), still_wanted)

    def _write_account(self, nodes: Sequence[Node], thumbprint: str) -> None:
        def write(node: Node) -> None:
            self._change_document(node, lambda text: fleet.answering(text, thumbprint), lambda _: True)

        with ThreadPoolExecutor(min(WRITTEN_AT_ONCE, len(nodes))) as pool:
            for _ in pool.map(write, nodes):
                pass

    def _change_document(
        self, node: Node, make: Callable[[str], str], still_wanted: Callable[[str], bool]
    ) -> None:
        """With the fingerprint that was read; after a conflict, again with what is there now."""
        vm, deadline = self._vms[node.id], time.monotonic() + WRITE_SECONDS
        while True:
            text = make(vm.metadata.get(DESIRED_KEY, ""))
            if len(text.encode()) > MOST_BYTES:
                raise Refused("the desired state is too large", node.id, f"{MOST_BYTES} bytes at most")
            try:
                sent = self._compute.set_metadata(vm, {**vm.metadata, DESIRED_KEY: text})
            except Conflict as conflict:
                vm = self._as_it_is(vm)
                if not still_wanted(vm.metadata.get(DESIRED_KEY, "")):
                    return
                if time.monotonic() > deadline:
                    raise Unreachable(
                        f"the metadata of {node.id} is being changed all the time",
                        expected=f"a moment of rest within {WRITE_SECONDS:.0f} s",
                    ) from conflict
                continue
            with self._lock:
                self._sent[sent.vm] = (sent, vm.fingerprint)
            return

    def _as_it_is(self, vm: Vm) -> Vm:
        return self._settled(lambda: [self._compute.vm(vm.zone, vm.name)])[0]

    def _settled(self, read: Callable[[], list[Vm]]) -> list[Vm]:
        """Read until our own changes show: one that was taken does so only when its operation is done."""
        pause, deadline = FIRST_PAUSE, time.monotonic() + WRITE_SECONDS
        while True:
            found = read()
            old = {vm.id for vm in found if vm.id in self._sent and self._sent[vm.id][1] == vm.fingerprint}
            if not old:
                return found
            if not old & {sent.vm for sent in self._check_written()}:
                return read()  # it was done in between
            if time.monotonic() > deadline:
                raise Unreachable(
                    f"a change of {min(old)} is not carried out",
                    self._where,
                    expected=f"done within {WRITE_SECONDS:.0f} s",
                    next_step="gcloud compute operations list --filter=operationType=setMetadata "
                    f"--project={self.project}",
                )
            time.sleep(pause)
            pause = min(LONGEST_PAUSE, 2 * pause)

    def vm(self, name: str) -> Vm:
        """One of the project's VMs in these zones, labels or not. Raises Refused."""
        found = self._compute.vms(self.zones, f'name = "{name}"')
        if not found:
            raise self._missing(name)
        return found[0]

    def set_metadata(self, vm: Vm, metadata: Mapping[str, str]) -> Vm:
        """Replace it, and read what came of it. Raises Conflict."""
        self.carried_out(self._compute.set_metadata(vm, metadata))
        return self._compute.vm(vm.zone, vm.name)

    def restart(self, vm: Vm) -> Sent:
        """Pull the plug and put it back in."""
        return self._compute.restart(vm)

    def status_of(self, vm: Vm) -> NodeStatus | str:
        """What its edge says, or why it says nothing."""
        return self._known.edges.ask(self._status_urls({vm.id: self._node(vm)}))[vm.id]

    def carried_out(self, sent: Sent) -> None:
        """Wait until the operation is done. Raises Failed, Unreachable."""
        pause, deadline = FIRST_PAUSE, time.monotonic() + OPERATION_SECONDS
        while self._compute.still_going([sent]):
            if time.monotonic() > deadline:
                raise Unreachable(
                    f"a change of {sent.vm} is not carried out", self._where, f"{OPERATION_SECONDS:.0f} s"
                )
            time.sleep(pause)
            pause = min(LONGEST_PAUSE, 2 * pause)

    def _check_written(self) -> list[Sent]:
        with self._lock:
            sent = dict(self._sent)
        going = self._compute.still_going([one for one, _ in sent.values()])
        with self._lock:
            for name, (one, fingerprint) in sent.items():
                if one not in going and self._sent.get(name) == (one, fingerprint):
                    del self._sent[name]
        return going

    def _nobody(self) -> Refused:
        return Refused(
            "there is no VM to release to",
            self._where,
            got=f"no VM fits {self._filter}" if self._filter else "no VM is there",
            next_step=f"gcloud compute instances list --project={self.project} --filter='{self._filter}'",
        )

    def _way_in(self) -> str:
        return self._routes(self.project)

    @property
    def _where(self) -> str:
        return f"projects/{self.project}, zones {', '.join(self.zones)}"
