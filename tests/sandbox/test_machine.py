"""The seam behind which a VM really boots."""

import threading
from dataclasses import dataclass, field

from google.cloud import compute_v1 as compute

from sandbox.compute.instance import Instance
from sandbox.server import running
from sandbox.world import Settings, World
from tests.sandbox.conftest import ZONE, Cloud, eventually, metadata


@dataclass
class Recorder:
    """Boots slowly, and writes down what it was told."""

    told: list[str] = field(default_factory=list)
    may_boot: threading.Event = field(default_factory=threading.Event)

    def power_on(self, vm: Instance) -> None:
        self.may_boot.wait(10)
        self.told.append(f"on {vm.name} {vm.metadata().get('user-data')} {vm.address}")
        vm.serial += "login:\n"

    def power_off(self, vm: Instance) -> None:
        self.told.append(f"off {vm.name}")

    def discard(self, vm: Instance) -> None:
        self.told.append(f"gone {vm.name}")


def test_a_machine_is_switched_with_its_vm_and_never_both_ways_at_once() -> None:
    machine = Recorder()
    world = World(Settings(pending_seconds=0.01, running_seconds=0.02), machine)
    with running(world) as at:
        cloud = Cloud(world, at)
        vm = cloud.vm("a", metadata=metadata(user_data="#cloud-config"))
        which = {"project": cloud.project, "zone": ZONE, "instance": "a"}
        instances = cloud.client(compute.InstancesClient)
        # RUNNING is not booted: the machine is still at it, and stopping waits for it.
        assert instances.get(**which).status == "RUNNING"
        assert not machine.told
        stopping = instances.stop_unary(**which)
        machine.may_boot.set()
        cloud.done(stopping)
        on = f"on a #cloud-config {vm.network_interfaces[0].network_i_p}"
        assert machine.told == [on, "off a"]
        cloud.done(instances.start_unary(**which))
        eventually(lambda: "login:" in instances.get_serial_port_output(**which).contents)
        cloud.done(instances.reset_unary(**which))
        eventually(lambda: machine.told == [on, "off a", on, "off a", on])
        cloud.done(instances.delete_unary(**which))
        assert machine.told[-2:] == ["off a", "gone a"]
