"""The swap as a pure state machine: what a node should do next, from what is wanted, seen and remembered.

`settle` draws conclusions (accepted, reverted), `next_step` names the one thing to do; the agent carries
it out and asks again. Nothing here waits or touches anything, so an agent killed anywhere just goes on.
"""

from dataclasses import replace

from releases.desired import ServiceDesired
from releases.release import Release
from releases.status import Failure, Phase
from releases.swap_memory import WHOLE, Clock, Container, Memory, Running, Slot, Trial, give_up
from releases.swap_steps import (
    Drain,
    Expose,
    Fetch,
    Probe,
    Pull,
    Remove,
    Rest,
    Restart,
    Start,
    Step,
    Stop,
    Switch,
    Unroute,
)


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
