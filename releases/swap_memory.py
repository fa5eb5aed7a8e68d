"""What a node sees of a service's containers, and what it remembers of their swap.

The functions are what the agent reports back: the memory once a step was carried out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from releases.release import Release
from releases.status import Failure

KEEP_REVERTED = 20
WHOLE = 100  # per cent of the traffic


class Slot(StrEnum):
    """The two places behind the edge."""

    a = "a"
    b = "b"

    @property
    def other(self) -> "Slot":
        """The slot that this one swaps with."""
        return Slot.b if self is Slot.a else Slot.a


class Running(StrEnum):
    """What Docker says of a container."""

    created = "created"  # never started: the agent was killed between create and start
    running = "running"
    exited = "exited"


@dataclass(frozen=True)
class Container:
    """One of the service's containers as seen on the node."""

    id: str
    fingerprint: str
    release: int
    slot: Slot
    state: Running
    sessions: int = 0
    exit_reason: str = ""
    ran: float = 0.0  # seconds, once it has exited


@dataclass(frozen=True)
class Clock:
    """Seconds since boot (they go on over a restart of the agent), and which boot it was."""

    now: float
    boot: str


@dataclass(frozen=True)
class Trial:
    """A candidate that became ready. `since`: when it did, when its traffic changed, or it was renewed."""

    generation: int
    container: str
    release: Release
    traffic: int
    since: float
    boot: str
    renewed: int = 0


@dataclass(frozen=True)
class Memory:
    """What Docker cannot tell; the agent keeps it on disk."""

    live: Slot | None = None
    confirmed: Release | None = None
    confirmed_generation: int | None = None
    trial: Trial | None = None
    ready: frozenset[str] = frozenset()
    draining: Mapping[str, float] = field(default_factory=dict)
    reverted: Mapping[int, Failure] = field(default_factory=dict)
    unfit: frozenset[str] = frozenset()  # fingerprints of confirmed releases that did not start here


def give_up(memory: Memory, generation: int, failure: Failure) -> Memory:
    """Mark a generation as reverted; it is never revived."""
    reverted = {**memory.reverted, generation: failure}
    newest = dict(sorted(reverted.items())[-KEEP_REVERTED:])
    ended = memory.trial is not None and memory.trial.generation == generation
    return replace(memory, reverted=newest, trial=None if ended else memory.trial)


def ready(memory: Memory, container: Container) -> Memory:
    """The container has answered its probe (and warm-up)."""
    return replace(memory, ready=memory.ready | {container.id}, unfit=memory.unfit - {container.fingerprint})


def exposed(memory: Memory, generation: int, container: Container, release: Release, clock: Clock) -> Memory:
    """Marked requests reach the candidate: its confirm window starts."""
    trial = Trial(generation, container.id, release, traffic=0, since=clock.now, boot=clock.boot)
    return replace(memory, trial=trial, draining=_without(memory.draining, container.id))


def switched(memory: Memory, slot: Slot, traffic: int, clock: Clock) -> Memory:
    """The edge sends `traffic` per cent to the slot; a trial's confirm window starts anew."""
    trial = memory.trial
    if trial is not None:
        trial = replace(trial, traffic=traffic, since=clock.now)
    if traffic == WHOLE:
        return replace(memory, live=slot, trial=trial)
    stable = slot.other if memory.live is slot else memory.live
    return replace(memory, live=stable, trial=trial)


def unfit(memory: Memory, release: Release) -> Memory:
    """A confirmed release did not start on this node; a candidate may be tried all the same."""
    return replace(memory, unfit=memory.unfit | {release.fingerprint})


def unrouted(memory: Memory) -> Memory:
    """Nothing is live any more."""
    return replace(memory, live=None)


def drained(memory: Memory, container: Container, clock: Clock) -> Memory:
    """The container gets no new requests from now on."""
    return replace(memory, draining={**memory.draining, container.id: clock.now})


def removed(memory: Memory, container: Container) -> Memory:
    """The container is gone."""
    return replace(
        memory, ready=memory.ready - {container.id}, draining=_without(memory.draining, container.id)
    )


def _without(mapping: Mapping[str, float], key: str) -> dict[str, float]:
    return {name: value for name, value in mapping.items() if name != key}
