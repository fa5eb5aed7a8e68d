"""VMs that really boot: what their user-data says is run, with the container engine of this machine."""

from sandbox.boot.engine import gateway
from sandbox.boot.machine import ContainerMachine

__all__ = ["ContainerMachine", "gateway"]
