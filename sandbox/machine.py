"""What runs when a VM is on. The API side only says when."""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sandbox.compute.instance import Instance


class Machine(Protocol):
    """Called from worker threads, one call at a time for each VM; may block while it boots or shuts down.

    It may append to `vm.serial` and read `vm.metadata()`; both are plain values behind one reference.
    """

    def power_on(self, vm: "Instance") -> None:
        """Boot. The API reports RUNNING without waiting for it, as the real one does."""

    def power_off(self, vm: "Instance") -> None:
        """Shut down. Stop, reset and delete wait for it."""

    def discard(self, vm: "Instance") -> None:
        """Forget its disks; it is off, and deleted."""


class NoMachine:
    """VMs that are only in the books."""

    def power_on(self, vm: "Instance") -> None:
        """Boot nothing."""

    def power_off(self, vm: "Instance") -> None:
        """Stop nothing."""

    def discard(self, vm: "Instance") -> None:
        """Forget nothing."""
