"""Google Cloud on one machine: stand-ins for the APIs we use, for tests and for trying things out."""

from sandbox.machine import Machine
from sandbox.world import Settings, World

__all__ = ["Machine", "Settings", "World"]
