"""The swap as a pure state machine: what a node should do next, from what is wanted, seen and remembered.

`settle` draws conclusions (accepted, reverted), `next_step` names the one thing to do; the agent carries
it out and asks again. Nothing here waits or touches anything, so an agent killed anywhere just goes on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from releases.desired import ServiceDesired
from releases.release import Release
from releases.status import Failure, Phase

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


@dataclass(frozen=True)
class Pull:
    """Get the image onto the node."""

    release: Release


@dataclass(frozen=True)
class Fetch:
    """Have the model on the node, every file verified now: before each start, not once and for all."""

    release: Release


@dataclass(frozen=True)
class Start:
    """Create and start a container for the release in the slot."""

    release: Release
    slot: Slot


@dataclass(frozen=True)
class Restart:
    """Start a container that exists."""

    container: Container
    release: Release


@dataclass(frozen=True)
class Probe:
    """Ask the container until it is ready; then `ready`, else `given_up`."""

    container: Container
    release: Release


@dataclass(frozen=True)
class Expose:
    """Let marked requests reach the slot, and nobody else; then `exposed`."""

    container: Container
    release: Release


@dataclass(frozen=True)
class Switch:
    """Send `traffic` per cent of the requests to the slot; then `switched`."""

    slot: Slot
    traffic: int


@dataclass(frozen=True)
class Unroute:
    """Nothing is to serve: take the live slot out of the edge; then `unrouted`."""


@dataclass(frozen=True)
class Drain:
    """Send the container no new requests; then `drained`, which starts its drain limit."""

    container: Container


@dataclass(frozen=True)
class Stop:
    """Stop the container, and keep it."""

    container: Container


@dataclass(frozen=True)
class Remove:
    """Stop and remove the container; then `removed`."""

    container: Container


@dataclass(frozen=True)
class Rest:
    """Nothing to do now; look again at a change, or in `seconds`."""

    phase: Phase
    seconds: float | None = None


Step = Pull | Fetch | Start | Restart | Probe | Expose | Switch | Unroute | Drain | Stop | Remove | Rest


def goal(wanted: ServiceDesired, memory: Memory) -> Release | None:
    """The release to work towards: the candidate unless its generation was reverted, else the confirmed one.

    A node that serves nothing starts what is confirmed before it tries anything new.
    """
    confirmed = memory.confirmed
    if memory.live is None and confirmed is not None and confirmed.fingerprint not in memory.unfit:
        return confirmed
    if wanted.candidate is not None and wanted.generation not in memory.reverted:
        return wanted.candidate.release
    return confirmed


def settle(wanted: ServiceDesired, memory: Memory, seen: tuple[Container, ...], clock: Clock) -> Memory:
    """Accept confirmations and give up what has failed, gone stale or outlived its window."""
    memory = _forget_gone(memory, seen)
    trial = memory.trial
    if trial is not None:
        failure = _trial_over(wanted, trial, seen, clock)
        if failure is not None:
            return give_up(memory, trial.generation, failure)
        if wanted.candidate is not None and wanted.candidate.renewed != trial.renewed:
            trial = replace(trial, renewed=wanted.candidate.renewed, since=clock.now)
            memory = replace(memory, trial=trial)
    if wanted.candidate is not None and wanted.generation not in memory.reverted:
        died = _of(wanted.candidate.release, seen)
        if died is not None and died.state is Running.exited:
            return give_up(memory, wanted.generation, _died_early(died, wanted.candidate.release))
    unconfirmed_candidate = wanted.candidate is not None
    if unconfirmed_candidate or wanted.generation in memory.reverted:
        return _baseline(wanted, memory)
    if wanted.generation != memory.confirmed_generation:
        memory = replace(
            memory, confirmed=wanted.confirmed, confirmed_generation=wanted.generation, trial=None
        )
    return memory


def give_up(memory: Memory, generation: int, failure: Failure) -> Memory:
    """Mark a generation as reverted; it is never revived."""
    reverted = {**memory.reverted, generation: failure}
    newest = dict(sorted(reverted.items())[-KEEP_REVERTED:])
    ended = memory.trial is not None and memory.trial.generation == generation
    return replace(memory, reverted=newest, trial=None if ended else memory.trial)


def next_step(
    wanted: ServiceDesired,
    memory: Memory,
    seen: tuple[Container, ...],
    here: frozenset[str],
    clock: Clock,
) -> Step:
    """The one thing to do now. `here`: the images and the verified models on the node, by digest."""
    live = _in_slot(memory.live, seen)
    back = _way_back(memory, live, seen)
    if back is not None:
        return back
    release = goal(wanted, memory)
    if release is None:
        return _empty(memory, seen, clock)
    mine = _of(release, seen)
    if mine is None:
        return _make_room(release, memory, live, seen, here, clock)
    if mine.state is not Running.running:
        return _stop_others(release, seen) or Restart(mine, release)
    if mine.id not in memory.ready:
        return Probe(mine, release)
    if wanted.candidate is not None and wanted.candidate.release == release != memory.confirmed:
        return _on_trial(wanted, mine, release, memory, clock)
    if memory.live is not mine.slot:
        return Switch(mine.slot, WHOLE)
    return _retire_others(mine, release.run.drain, memory, seen, clock)


# What the agent reports back once it has carried out a step.


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


def _forget_gone(memory: Memory, seen: tuple[Container, ...]) -> Memory:
    up = {container.id for container in seen if container.state is Running.running}
    known = {container.id for container in seen}
    return replace(
        memory,
        ready=memory.ready & up,
        draining={key: since for key, since in memory.draining.items() if key in known},
    )


def _trial_over(
    wanted: ServiceDesired, trial: Trial, seen: tuple[Container, ...], clock: Clock
) -> Failure | None:
    """Why the trial has ended without being confirmed, if it has."""
    phase = Phase.bake if trial.traffic else Phase.verify
    elapsed = clock.now - trial.since
    if trial.boot != clock.boot:
        return Failure(phase=phase, reason="the node was rebooted before the release was confirmed")
    if wanted.generation != trial.generation:
        return Failure(phase=phase, reason="taken back by the controller", elapsed=elapsed)
    if wanted.candidate is None:
        return None  # confirmed
    mine = next((container for container in seen if container.id == trial.container), None)
    if mine is None or mine.state is not Running.running:
        reason = "the container exited" if mine else "the container is gone"
        detail = f": {mine.exit_reason}" if mine and mine.exit_reason else ""
        return Failure(phase=phase, reason=reason + detail, elapsed=elapsed)
    window = wanted.candidate.confirm_window
    if elapsed > window:
        return Failure(phase=phase, reason="not confirmed in time", elapsed=elapsed, limit=window)
    return None


def _died_early(died: Container, release: Release) -> Failure:
    reason = f"the container exited before it was ready: {died.exit_reason}".rstrip(": ")
    return Failure(
        phase=Phase.probe,
        reason=reason,
        elapsed=died.ran,
        limit=release.run.health.timeout,
        next_step="read the container's last lines: it ended by itself",
    )


def _baseline(wanted: ServiceDesired, memory: Memory) -> Memory:
    """A node that is new, or lost its memory, takes the document's confirmed release as its own."""
    if memory.confirmed_generation is None and wanted.generation not in memory.reverted:
        return replace(memory, confirmed=wanted.confirmed, confirmed_generation=wanted.generation - 1)
    return memory


def _way_back(memory: Memory, live: Container | None, seen: tuple[Container, ...]) -> Step | None:
    """What serves is neither confirmed nor on trial any more, and the confirmed one is warm: one switch."""
    if memory.confirmed is None or memory.trial is not None:
        return None
    warm = _of(memory.confirmed, seen)
    if warm is None or warm.state is not Running.running or warm.id not in memory.ready:
        return None
    if live is not None and live.fingerprint == memory.confirmed.fingerprint:
        return None
    return Switch(warm.slot, WHOLE)


def _make_room(
    release: Release,
    memory: Memory,
    live: Container | None,
    seen: tuple[Container, ...],
    here: frozenset[str],
    clock: Clock,
) -> Step:
    """Everything that must be true before the release's container can start."""
    if release.image not in here:
        return Pull(release)
    if release.model_sha256 and release.model_sha256 not in here:
        return Fetch(release)
    slot = live.slot.other if live else (memory.live.other if memory.live else Slot.a)
    standing = [container for container in seen if container.slot is slot]
    if standing:
        return _retire(standing[0], release.run.drain, memory, clock)
    return _stop_others(release, seen) or Start(release, slot)


def _stop_others(release: Release, seen: tuple[Container, ...]) -> Step | None:
    """Two copies do not fit: the other one stops before this one starts."""
    if release.run.swap == "overlap":
        return None
    others = (one for one in seen if one.fingerprint != release.fingerprint)
    return next((Stop(one) for one in others if one.state is Running.running), None)


def _on_trial(
    wanted: ServiceDesired, mine: Container, release: Release, memory: Memory, clock: Clock
) -> Step:
    """Verify, then as much traffic as is wanted, then wait for the verdict."""
    candidate, trial = wanted.candidate, memory.trial
    if candidate is None or trial is None or trial.generation != wanted.generation:
        return Expose(mine, release)
    if candidate.traffic != trial.traffic:
        return Switch(mine.slot, candidate.traffic)
    left = max(0.0, candidate.confirm_window - (clock.now - trial.since))
    return Rest(Phase.bake if trial.traffic else Phase.verify, seconds=left)


def _retire_others(
    mine: Container, drain: float, memory: Memory, seen: tuple[Container, ...], clock: Clock
) -> Step:
    others = [container for container in seen if container.id != mine.id]
    steps = [_retire(container, drain, memory, clock) for container in others]
    acting = [step for step in steps if not isinstance(step, Rest)]
    return next(iter([*acting, *steps]), Rest(Phase.live))


def _retire(container: Container, drain: float, memory: Memory, clock: Clock) -> Step:
    """No new requests, then the ones in flight finish or the limit passes, then it goes."""
    if container.state is not Running.running:
        return Remove(container)
    if container.id not in memory.draining:
        return Drain(container)
    if container.sessions and clock.now - memory.draining[container.id] < drain:
        return Rest(Phase.drain, seconds=0.1)
    return Remove(container)


def _empty(memory: Memory, seen: tuple[Container, ...], clock: Clock) -> Step:
    if memory.live is not None:
        return Unroute()
    if seen:
        return _retire(seen[0], 0.0, memory, clock)
    return Rest(Phase.idle)


def _of(release: Release, seen: tuple[Container, ...]) -> Container | None:
    return next((container for container in seen if container.fingerprint == release.fingerprint), None)


def _in_slot(slot: Slot | None, seen: tuple[Container, ...]) -> Container | None:
    return next((container for container in seen if container.slot is slot), None)


def _without(mapping: Mapping[str, float], key: str) -> dict[str, float]:
    return {name: value for name, value in mapping.items() if name != key}
