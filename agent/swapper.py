"""Carries out one service's swap: look, settle, take the one next step, look again."""

import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from docker.errors import DockerException

from agent import haproxy, probe
from agent.answer_times import AnswerTimes
from agent.certificates import Certificates
from agent.edge import Edge, EdgeError
from agent.engine import Addresses, Engine
from agent.failure import Interrupted, StepFailed
from agent.images import Images
from agent.memory import FIRST_ADDRESS, Disk
from agent.models import Models
from agent.seat import Seat, candidate_of, places_of
from releases import swap, swap_memory, swap_steps
from releases.desired import ServiceDesired
from releases.release import Release
from releases.status import Counters, Failure, Phase, ServiceStatus, SideBySide
from releases.swap_memory import Clock, Container, Memory, Running

LOOK_EVERY = 60.0
# Steps towards a release that does not serve yet.
BEFORE_A_SWITCH = (
    swap_steps.Pull,
    swap_steps.Fetch,
    swap_steps.Stop,
    swap_steps.Start,
    swap_steps.Restart,
    swap_steps.Probe,
)
COUNT_EVERY = 1.0
LONGEST_BACKOFF = 60.0
FIRST_BACKOFF = 1.0

PHASES: dict[type, Phase] = {
    swap_steps.Pull: Phase.pull,
    swap_steps.Fetch: Phase.fetch,
    swap_steps.Start: Phase.start,
    swap_steps.Restart: Phase.start,
    swap_steps.Probe: Phase.probe,
    swap_steps.Expose: Phase.probe,  # "verify" is said once marked requests reach it, not before
    swap_steps.Switch: Phase.switch,
    swap_steps.Unroute: Phase.switch,
    swap_steps.Drain: Phase.drain,
    swap_steps.Stop: Phase.drain,
    swap_steps.Remove: Phase.drain,
}


@dataclass(frozen=True)
class Node:
    """What all services on a node share."""

    engine: Engine
    edge: Edge
    disk: Disk
    images: Images
    models: Models
    clock: Callable[[], Clock]
    certificates: Certificates
    times: AnswerTimes


class Swapper:
    """One service on this node. `wanted` is asked anew before every step."""

    def __init__(
        self,
        service: str,
        node: Node,
        wanted: Callable[[], ServiceDesired],
        report: Callable[[str, ServiceStatus], None],
    ) -> None:
        self.service = service
        self.node = node
        self.wanted = wanted
        self.report = report
        self.wake = threading.Event()
        self.memory, self.message = node.disk.load(service)
        first = node.disk.first_address(service)
        subnet = node.edge.subnet
        self.addresses = Addresses(f"{subnet}.{first}", f"{subnet}.{first + 1}")
        self.seat = Seat((first - FIRST_ADDRESS) // 2, self.addresses)
        self.seconds: dict[str, float] = {}
        self.generation = self.certified = -1
        self.backoff = 0.0
        self.changed = ""
        self.behind = True  # the edge may not have been told what is remembered
        self.about, self.phase = ServiceDesired(), Phase.idle  # how far the last look came, and with what

    def run(self) -> None:
        """Swap for ever. A crash is reported and tried again; it never reaches the other services."""
        while True:
            self.wake.clear()
            try:
                pause = self.turn()
            except Exception as error:  # noqa: BLE001 - whatever it is, the others go on and so does this one
                self.message = f"{type(error).__name__}: {error}"[:400]
                pause = self._back_off()
                if not isinstance(error, DockerException | EdgeError | OSError):
                    traceback.print_exc()
                with suppress(DockerException, OSError):  # the engine may be what is away
                    self._report()
            if pause:
                self.wake.wait(pause)

    def turn(self) -> float:
        """Take one step; seconds until the next look (0: at once)."""
        wanted, seen = self.wanted(), self._look()
        if self.behind and self.memory.live is not None:
            self._converge(wanted)
        if wanted.generation != self.generation:
            self.generation, self.seconds, self.backoff = wanted.generation, {}, 0.0
        before = self.memory
        self.memory = swap.settle(wanted, self.memory, seen, self.node.clock())
        self._add_log_tail(before, wanted, seen)
        release = swap.goal(wanted, self.memory)
        step = swap.next_step(wanted, self.memory, seen, self._here(release), self.node.clock())
        phase = step.phase if isinstance(step, swap_steps.Rest) else PHASES[type(step)]
        self.about, self.phase = wanted, phase
        self._report()
        started = time.monotonic()
        try:
            self._carry_out(step, wanted)
        except StepFailed as failed:
            return self._failed(wanted, release, failed.failure)
        except Interrupted:
            return 0.0
        finally:
            spent = time.monotonic() - started
            self.seconds[phase] = round(self.seconds.get(phase, 0.0) + spent, 3)
            if self.memory != before:
                self.node.disk.save(self.service, self.memory)
        if not isinstance(step, swap_steps.Rest):
            return 0.0
        self.backoff = 0.0
        longest = COUNT_EVERY if self._is_canary() else LOOK_EVERY
        return min(longest, longest if step.seconds is None else step.seconds + 0.01)

    def _is_canary(self) -> bool:
        trial = self.memory.trial
        return trial is not None and 0 < trial.traffic < swap_memory.WHOLE

    def _look(self) -> tuple[Container, ...]:
        seen = self.node.engine.containers(self.service)
        if self.memory.draining:
            sessions = self.node.edge.sessions(self.service)
            seen = tuple(replace(one, sessions=sessions.get(one.slot, 0)) for one in seen)
        return seen

    def _here(self, release: Release | None) -> frozenset[str]:
        """The release's image and model, as far as they are ready for a start."""
        if release is None:
            return frozenset()
        image = {release.image} if self.node.engine.has_image(release.image) else set()
        model = release.model_sha256
        return frozenset(image | ({model} if self.node.models.is_verified(self.service, model) else set()))

    def _carry_out(self, step: swap_steps.Step, wanted: ServiceDesired) -> None:  # noqa: C901, PLR0912 - one case per kind
        engine, clock = self.node.engine, self.node.clock
        if isinstance(step, BEFORE_A_SWITCH):
            self._certify(wanted)
        match step:
            case swap_steps.Pull(release):
                self.node.images.pull(
                    self.service, release.image, lambda: self.wanted().generation != wanted.generation
                )
            case swap_steps.Fetch(release):
                self._fetch(release)
            case swap_steps.Start(release, slot):
                self.node.models.take(self.service)
                at = self.addresses.of(slot)
                self.node.images.with_room(lambda: engine.start(release, slot, at, wanted.generation))
            case swap_steps.Restart(container):
                engine.restart(container)
            case swap_steps.Probe(container, release):
                self._probe(container, release)
            case swap_steps.Expose(container, release):
                self._remember(
                    swap_memory.exposed(self.memory, wanted.generation, container, release, clock())
                )
                self._converge(wanted)
                self.node.edge.count_anew()
                self.node.times.anew(self.service)
            case swap_steps.Switch(slot, traffic):
                self._remember(swap_memory.switched(self.memory, slot, traffic, clock()))
                self._converge(wanted)
            case swap_steps.Unroute():
                self._remember(swap_memory.unrouted(self.memory))
                self._converge(wanted)
            case swap_steps.Drain(container):
                self._remember(swap_memory.drained(self.memory, container, clock()))
                self._converge(wanted)
            case swap_steps.Stop(container):
                engine.stop(container)
            case swap_steps.Remove(container):
                engine.remove(container)
                self.memory = swap_memory.removed(self.memory, container)
            case swap_steps.Rest(Phase.live):
                self._tidy(wanted)
            case swap_steps.Rest(Phase.idle):
                if self.service in self.node.edge.services:
                    self._converge(wanted)  # a first release that failed was there: its name is free again
                self.node.certificates.prune(self.service)

    def _certify(self, wanted: ServiceDesired) -> None:
        release, certificates = swap.goal(wanted, self.memory), self.node.certificates
        if release is not None and release == candidate_of(wanted):
            if self.certified != self.generation:
                certificates.require(release)
                self.certified = self.generation
        elif release is not None and certificates.is_missing(release):
            with suppress(StepFailed):  # what is confirmed starts all the same, and the status tells
                certificates.require(release)

    def _fetch(self, release: Release) -> None:
        generation = self.wanted().generation
        if release.model is not None:
            self.node.models.fetch(
                self.service, release.model, interrupted=lambda: self.wanted().generation != generation
            )

    def _probe(self, container: Container, release: Release) -> None:
        generation = self.wanted().generation
        probe.wait_until_ready(
            release,
            self.addresses.of(container.slot),
            exit_reason=lambda: self.node.engine.exit_reason(container.id),
            log_tail=lambda: self.node.engine.log_tail(container.id),
            interrupted=lambda: self.wanted().generation != generation,
        )
        self.memory = swap_memory.ready(self.memory, container)

    def _remember(self, memory: Memory) -> None:
        """On disk before the edge is touched: an agent that dies in between says the same again."""
        self.node.disk.save(self.service, memory)
        self.memory = memory

    def _converge(self, wanted: ServiceDesired) -> None:
        self.behind = True
        self.node.edge.converge(self.at_the_edge(wanted))
        self.behind = False

    def at_the_edge(self, wanted: ServiceDesired) -> haproxy.Service:
        """How the edge should serve this service, from what is remembered."""
        return self.seat.serving(self.service, wanted, self.memory, self.node.engine.containers(self.service))

    def _failed(self, wanted: ServiceDesired, release: Release | None, failure: Failure) -> float:
        self.message = failure.reason
        if wanted.candidate is not None and release == wanted.candidate.release:
            self._remember(swap_memory.give_up(self.memory, wanted.generation, failure))
            return 0.0
        if release is not None:
            self._remember(swap_memory.unfit(self.memory, release))
        return self._back_off()

    def _back_off(self) -> float:
        self.backoff = min(LONGEST_BACKOFF, max(FIRST_BACKOFF, self.backoff * 2))
        return self.backoff

    def _add_log_tail(self, before: Memory, wanted: ServiceDesired, seen: tuple[Container, ...]) -> None:
        """A generation that has just been given up takes its container's last words along."""
        candidate, trial = candidate_of(wanted), before.trial
        mine = [one.id for one in seen if candidate and one.fingerprint == candidate.fingerprint]
        containers = {wanted.generation: mine[0]} if mine else {}
        if trial is not None:
            containers[trial.generation] = trial.container
        for generation, container in containers.items():
            failure = self.memory.reverted.get(generation)
            if failure is not None and generation not in before.reverted and not failure.log_tail:
                told = failure.model_copy(update={"log_tail": self.node.engine.log_tail(container)})
                self.memory = swap_memory.give_up(self.memory, generation, told)

    def _tidy(self, wanted: ServiceDesired) -> None:
        """Confirmed and alone: the engine keeps it up, and the edge forgets the trial."""
        before, self.changed = self.changed, ""
        confirmed = self.memory.confirmed  # the document's may be one that was taken back here just before
        for container in self.node.engine.containers(self.service):
            if container.state is Running.running:
                self.node.engine.keep_up(container)
                if confirmed is not None:
                    self.changed = self.node.engine.changed_by_hand(container, confirmed)
        if self.changed != before:
            self._report()
        self._converge(wanted)
        if confirmed is not None:
            self.node.images.kept.used(self.service, confirmed.image)
        self.node.images.kept.prune(self.service)
        self.node.models.prune(self.service)
        self.node.certificates.prune(self.service)

    def _report(self) -> None:
        """Of what was looked at last: of something newer nobody could say how far it is."""
        wanted, phase, memory, trial = self.about, self.phase, self.memory, self.memory.trial
        failure = memory.reverted.get(wanted.generation)
        resting = phase in {Phase.live, Phase.idle, Phase.drain}
        seen = self.node.engine.containers(self.service)
        live = next((one.release for one in seen if one.slot is memory.live), None)
        window = wanted.candidate.confirm_window if wanted.candidate else None
        left = window - (self.node.clock().now - trial.since) if trial and window else None
        release = candidate_of(wanted) or memory.confirmed
        status = ServiceStatus(
            generation=wanted.generation,
            phase=Phase.reverted if failure and resting else phase,
            traffic=trial.traffic if trial else 0,
            live=live,
            confirmed=memory.confirmed.number if memory.confirmed else None,
            confirmed_generation=memory.confirmed_generation,
            candidate=wanted.candidate.release.number if wanted.candidate else None,
            counters=self._counters(),
            reverts_in=left,
            failure=failure or memory.reverted.get(wanted.generation - 1),  # of the last trial
            reverted=dict(memory.reverted),
            public_port=release.public_port if release else None,
            hosts=release.hosts if release else (),
            certificate=self.node.certificates.status(places_of(memory.confirmed, release)),
            message=self.message,
            changed=self.changed,
            seconds=dict(self.seconds),
        )
        self.report(self.service, status)

    def _counters(self) -> SideBySide | None:
        live = self.memory.live
        if live is None or not self._is_canary():
            return None
        try:
            counted = self.node.edge.counters(self.service)
        except EdgeError:  # no news of it; the next look tells
            return None
        trial = self.memory.trial
        candidate, now = (trial.release if trial else None), self.memory.confirmed
        return SideBySide(
            candidate=self._timed(counted.get(live.other), candidate),
            live=self._timed(counted.get(live), now),
        )

    def _timed(self, counted: Counters | None, release: Release | None) -> Counters:
        took = self.node.times.p95(self.service, release.number) if release else 0.0
        return (counted or Counters()).model_copy(update={"milliseconds": took})
