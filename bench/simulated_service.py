"""A service on a node of which containers are only data: the node's own rules decide what happens to them."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from releases import swap, swap_memory, swap_steps
from releases.desired import ServiceDesired
from releases.release import Release
from releases.status import Failure, Phase, ServiceStatus
from releases.swap_memory import Clock, Container, Memory, Running

PAUSE = 0.2  # until a confirmed release that was not ready is tried again
LAST_WORDS = "connecting with password=hunter2"  # of a container that fails


@dataclass
class Service:
    """One service on one node."""

    breaks: Callable[[Release], str]
    pulls: Callable[[], float] = lambda: 0.0
    wanted: ServiceDesired = field(default_factory=ServiceDesired)
    memory: Memory = field(default_factory=Memory)
    seen: tuple[Container, ...] = ()
    images: frozenset[str] = frozenset()
    started: int = 0
    phase: Phase = Phase.idle
    rest: float | None = None
    pulled: float | None = None  # when the image that is being pulled will be here
    boot: str = "boot"

    def clock(self) -> Clock:
        return Clock(time.monotonic(), self.boot)

    def reboot(self) -> None:
        """What is on the disk is there; nothing runs."""
        self.boot += "+"
        self.seen = tuple(replace(one, state=Running.exited) for one in self.seen)

    def reconcile(self) -> None:
        while True:
            self.memory = swap.settle(self.wanted, self.memory, self.seen, self.clock())
            step = swap.next_step(self.wanted, self.memory, self.seen, self.images, self.clock())
            if isinstance(step, swap_steps.Rest):
                self.phase, self.rest = step.phase, step.seconds
                return
            if isinstance(step, swap_steps.Pull) and (left := self._still_pulling()) > 0:
                self.phase, self.rest = Phase.pull, left
                return
            self._carry_out(step)
            if isinstance(step, swap_steps.Probe) and step.release.fingerprint in self.memory.unfit:
                self.phase, self.rest = Phase.probe, PAUSE
                return

    def _carry_out(self, step: swap_steps.Step) -> None:  # noqa: C901 - one line for each step
        memory, generation = self.memory, self.wanted.generation
        match step:
            case swap_steps.Pull(release):
                self.images |= {release.image}
            case swap_steps.Fetch(release):
                self.images |= {release.model_sha256}
            case swap_steps.Start(release, slot):
                self._start(release, slot)
            case swap_steps.Restart(container, _):
                self._replace(container, replace(container, state=Running.running))
            case swap_steps.Probe(container, release):
                self._probe(container, release)
            case swap_steps.Expose(container, release):
                self.memory = swap_memory.exposed(memory, generation, container, release, self.clock())
            case swap_steps.Switch(slot, traffic):
                self.memory = swap_memory.switched(memory, slot, traffic, self.clock())
            case swap_steps.Unroute():
                self.memory = swap_memory.unrouted(memory)
            case swap_steps.Drain(container):
                self.memory = swap_memory.drained(memory, container, self.clock())
            case swap_steps.Stop(container):
                self._replace(container, replace(container, state=Running.exited))
            case swap_steps.Remove(container):
                self._replace(container, None)
                self.memory = swap_memory.removed(memory, container)

    def _still_pulling(self) -> float:
        now = self.clock().now
        if self.pulled is None:
            self.pulled = now + self.pulls()
        left = self.pulled - now
        if left <= 0:
            self.pulled = None
        return left

    def _start(self, release: Release, slot: swap_memory.Slot) -> None:
        self.started += 1
        name = f"c{self.started}"
        self.seen += (Container(name, release.fingerprint, release.number, slot, Running.running),)

    def _probe(self, container: Container, release: Release) -> None:
        reason, candidate = self.breaks(release), self.wanted.candidate
        if not reason:
            self.memory = swap_memory.ready(self.memory, container)
        elif candidate and candidate.release == release:
            failure = Failure(phase=Phase.probe, reason=reason, log_tail=(LAST_WORDS,))
            self.memory = swap_memory.give_up(self.memory, self.wanted.generation, failure)
            self._replace(container, None)
        else:
            self.memory = swap_memory.unfit(self.memory, release)

    def _replace(self, old: Container, new: Container | None) -> None:
        kept = [new if one.id == old.id else one for one in self.seen]
        self.seen = tuple(one for one in kept if one is not None)

    @property
    def live(self) -> int | None:
        return next((one.release for one in self.seen if one.slot is self.memory.live), None)

    def answering(self, token: str) -> Release | None:
        """Who gets a request: the marked ones the candidate, the others whoever is live."""
        candidate, trial = self.wanted.candidate, self.memory.trial
        if candidate and trial and hashlib.sha256(token.encode()).hexdigest() == candidate.key_sha256:
            return candidate.release
        known = [self.memory.confirmed, candidate.release if candidate else None]
        return next((one for one in known if one is not None and one.number == self.live), None)

    def status(self) -> ServiceStatus:
        failure = self.memory.reverted.get(self.wanted.generation)
        resting = self.phase in {Phase.live, Phase.idle, Phase.drain}
        confirmed, candidate = self.memory.confirmed, self.wanted.candidate
        return ServiceStatus(
            generation=self.wanted.generation,
            phase=Phase.reverted if failure and resting else self.phase,
            traffic=self.memory.trial.traffic if self.memory.trial else 0,
            live=self.live,
            confirmed=confirmed.number if confirmed else None,
            confirmed_generation=self.memory.confirmed_generation,
            candidate=candidate.release.number if candidate else None,
            failure=failure or self.memory.reverted.get(self.wanted.generation - 1),
            reverted=dict(self.memory.reverted),
        )
