"""Everything the sandbox holds, in memory, behind one lock."""

import asyncio
import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sandbox.identity import Identities
from sandbox.machine import Machine, NoMachine
from sandbox.network import Network

if TYPE_CHECKING:
    from sandbox.compute.group import Group
    from sandbox.compute.instance import Instance
    from sandbox.compute.operations import Operation
    from sandbox.faults import Fault
    from sandbox.provisioning.secret_manager import Secret
    from sandbox.storage.bucket import Bucket
    from sandbox.storage.uploads import Upload

ZONES = {
    "europe-west1": ("europe-west1-b", "europe-west1-c", "europe-west1-d"),
    "us-central1": ("us-central1-a", "us-central1-b", "us-central1-c", "us-central1-f"),
}
Key = tuple[str, ...]


def _first_id() -> int:
    return random.SystemRandom().randrange(10**17, 10**18)


@dataclass(frozen=True)
class Settings:
    """How long things take, and what there is at the start."""

    project: str = "sandbox"
    owner: str = "user:owner@example.com"
    pending_seconds: float = 0.02
    running_seconds: float = 0.05
    wait_seconds: float = 120  # the longest that an operation's `wait` takes to answer
    token_seconds: float = 3600
    guest_attribute_queries: int = 10  # each minute and VM
    metadata_port: int = 0
    registry: str = ""  # where images lie, as HOST:PORT; who asks for them is asked for a token here
    inside: str = ""  # an address of this machine that the VMs' containers reach, where VMs run containers


@dataclass
class Clock:
    """The sandbox's own time, which tests may move forward."""

    ahead: float = 0.0

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time() + self.ahead


@dataclass(frozen=True)
class World:
    """The tables, keyed by project, place (zone, region or nothing) and name, as far as they have these."""

    settings: Settings = field(default_factory=Settings)
    machine: Machine = field(default_factory=NoMachine)
    lock: threading.RLock = field(default_factory=threading.RLock)
    clock: Clock = field(default_factory=Clock)
    identities: Identities = field(default_factory=Identities)
    network: Network = field(default_factory=Network)
    ids: Iterator[int] = field(default_factory=lambda: itertools.count(_first_id()))
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    faults: list["Fault"] = field(default_factory=list)
    operations: dict[Key, "Operation"] = field(default_factory=dict)
    requests: dict[Key, "Operation"] = field(default_factory=dict)
    instances: dict[Key, "Instance"] = field(default_factory=dict)
    templates: dict[Key, dict[str, Any]] = field(default_factory=dict)
    groups: dict[Key, "Group"] = field(default_factory=dict)
    policies: dict[str, dict[str, Any]] = field(default_factory=dict)  # of projects, by number
    secrets: dict[Key, "Secret"] = field(default_factory=dict)
    accounts: dict[Key, dict[str, Any]] = field(default_factory=dict)
    account_policies: dict[str, dict[str, Any]] = field(default_factory=dict)
    account_keys: dict[str, list[dict[str, Any]]] = field(
        default_factory=dict
    )  # by e-mail; tests put them here
    roles: dict[str, dict[str, Any]] = field(default_factory=dict)  # by full name
    pools: dict[str, dict[str, Any]] = field(default_factory=dict)  # and their providers, by full name
    open_subnetworks: set[Key] = field(default_factory=set)  # project and region, with Private Google Access
    services: set[Key] = field(default_factory=set)
    repositories: dict[Key, dict[str, Any]] = field(default_factory=dict)
    repository_policies: dict[Key, dict[str, Any]] = field(default_factory=dict)
    long_operations: dict[str, dict[str, Any]] = field(default_factory=dict)
    buckets: dict[str, "Bucket"] = field(default_factory=dict)
    uploads: dict[str, "Upload"] = field(default_factory=dict)
    firewalls: dict[Key, dict[str, Any]] = field(default_factory=dict)
    log_entries: list[dict[str, Any]] = field(default_factory=list)

    def now(self) -> float:
        """Seconds since the epoch, on the sandbox's clock."""
        return self.clock.now()

    def timestamp(self) -> str:
        """Now, as the APIs write it."""
        return rfc3339(self.now())

    def new_id(self) -> str:
        """A resource's numeric id."""
        return str(next(self.ids))

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Do it under the lock after a while."""

        def whole() -> None:
            with self.lock:
                action()

        asyncio.get_running_loop().call_later(seconds, whole)

    def background(self, work: "Any") -> None:
        """Run a coroutine beside the requests; the set keeps it from being collected."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


def rfc3339(seconds: float) -> str:
    """With milliseconds and Z."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
