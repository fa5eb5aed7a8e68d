"""A node that is only data, under the real swapper: quick, and killed at whatever it is about to touch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from agent import swapper
from agent.answer_times import AnswerTimes
from agent.edge import EdgeError
from agent.failure import Interrupted, StepFailed
from agent.haproxy import Service
from agent.memory import Disk
from agent.swapper import Swapper
from releases.desired import ServiceDesired
from releases.release import Release
from releases.status import Counters, Phase, ServiceStatus
from releases.swap_memory import Clock, Container, Memory, Running, Slot


class Killed(BaseException):
    """The agent is gone, in the middle of what it did."""


@dataclass
class World:
    """What outlives the agent: containers, images, models, what HAProxy was told; and who is killed when."""

    folder: Path
    wanted: ServiceDesired = field(default_factory=ServiceDesired)
    status: ServiceStatus = field(default_factory=ServiceStatus)
    seen: tuple[Container, ...] = ()
    here: set[str] = field(default_factory=set)
    told: Service | None = None
    started: int = 0
    exits: str = ""  # how a new container ends, before anybody has looked
    says: tuple[str, ...] = ()
    edge_away: bool = False  # HAProxy's socket does not answer
    certificates: set[str] = field(default_factory=set)  # those the edge can show
    secrets_away: bool = False
    while_pulling: Callable[[], None] = lambda: None
    kept: list[str] = field(default_factory=list)  # images that were used, for going back
    gap: bool = False  # `swap: replace`: nobody serves for a while
    touched: list[tuple[Phase, str]] = field(default_factory=list)
    dies_at: int = -1
    dies_after: bool = False  # what it was about to do is done all the same

    @contextmanager
    def touch(self, what: str) -> Iterator[None]:
        """Around everything that leaves a trace outside of the agent."""
        mine = len(self.touched)
        self.touched.append((self.status.phase, what))
        if mine == self.dies_at and not self.dies_after:
            raise Killed
        yield
        self.assert_served()
        if mine == self.dies_at:
            raise Killed

    def assert_served(self) -> None:
        """Whoever the edge sends users to is up."""
        if self.told is None or self.gap:
            return
        up = {one.slot for one in self.seen if one.state is Running.running}
        serving = {slot for slot in Slot if self.told.server(slot).weight}
        assert serving <= up, f"users are sent to nobody: {self.touched[-3:]}"

    def report(self, _service: str, status: ServiceStatus) -> None:
        self.status = status

    def agent(self) -> Swapper:
        """A new one, as after a restart: it knows what is on disk."""
        parts = {
            "engine": FakeEngine(self),
            "edge": FakeEdge(self),
            "disk": TouchyDisk(self),
            "images": Images(self),
            "models": Models(self),
            "certificates": Certificates(self),
            "times": AnswerTimes(),
        }
        node: Any = swapper.Node(clock=lambda: Clock(1.0, "boot"), **parts)
        return Swapper("iris", node, lambda: self.wanted, self.report)

    def turns(self, until: Callable[[ServiceStatus], bool], agent: Swapper | None = None) -> Swapper:
        agent = agent or self.agent()
        for _ in range(60):
            agent.turn()
            if until(self.status):
                return agent
        raise AssertionError(f"it never comes there: {self.status}")

    def live(self) -> int | None:
        """The release that users meet."""
        told = self.told
        serving = [slot for slot in Slot if told and told.server(slot).weight]
        return next((one.release for one in self.seen if serving == [one.slot]), None)


@dataclass
class FakeEngine:
    world: World

    def containers(self, _service: str) -> tuple[Container, ...]:
        return self.world.seen

    def has_image(self, image: str) -> bool:
        return image in self.world.here

    def start(self, release: Release, slot: Slot, _address: str, _generation: int) -> None:
        world = self.world
        new = Container(f"c{world.started}", release.fingerprint, release.number, slot, Running.created)
        with world.touch("create"):
            assert all(one.slot is not slot for one in world.seen), "the slot is taken"
            world.started += 1
            world.seen += (new,)
        self.restart(new)

    def restart(self, container: Container) -> None:
        with self.world.touch("start"):
            if self.world.exits:
                self._change(container, Running.exited, self.world.exits)
            else:
                self._change(container, Running.running)

    def stop(self, container: Container) -> None:
        with self.world.touch("stop"):
            self._change(container, Running.exited)

    def remove(self, container: Container) -> None:
        with self.world.touch("remove"):
            self.world.seen = tuple(one for one in self.world.seen if one.id != container.id)

    def keep_up(self, _container: Container) -> None:
        with self.world.touch("keep up"):
            pass

    def changed_by_hand(self, container: Container, release: Release) -> str:
        return "" if container.fingerprint == release.fingerprint else "somebody changed the container: image"

    def log_tail(self, container_id: str) -> tuple[str, ...]:
        there = any(one.id == container_id for one in self.world.seen)
        return self.world.says if there else ()

    def _change(self, container: Container, state: Running, reason: str = "") -> None:
        ran = 0.2 if reason else 0.0
        self.world.seen = tuple(
            replace(one, state=state, exit_reason=reason, ran=ran) if one.id == container.id else one
            for one in self.world.seen
        )


@dataclass
class FakeEdge:
    world: World
    subnet: str = "172.31.7"
    services: dict[str, Service] = field(default_factory=dict)

    def converge(self, service: Service) -> None:
        if self.world.edge_away:
            raise EdgeError("HAProxy's runtime socket does not answer")
        with self.world.touch("edge"):
            self.world.told = self.services[service.name] = service

    def sessions(self, _service: str) -> dict[Slot, int]:
        return {}

    def counters(self, _service: str) -> dict[Slot, Counters]:
        return {}

    def count_anew(self) -> None: ...


class TouchyDisk(Disk):
    def __init__(self, world: World) -> None:
        super().__init__(world.folder)
        self.world = world

    def save(self, service: str, memory: Memory) -> None:
        with self.world.touch("remember"):
            super().save(service, memory)


@dataclass
class Images:
    world: World

    @property
    def kept(self) -> Any:
        used = self.world.kept.append
        return SimpleNamespace(used=lambda _, image: used(image), prune=lambda _: None)

    def pull(self, _service: str, image: str, interrupted: Callable[[], bool]) -> None:
        with self.world.touch("pull"):
            self.world.while_pulling()
            if interrupted():
                raise Interrupted
            self.world.here.add(image)

    def with_room(self, work: Callable[[], None]) -> None:
        work()


@dataclass
class Models:
    world: World
    verified: str = ""

    def is_verified(self, _service: str, sha256: str) -> bool:
        return self.verified == sha256

    def fetch(self, _service: str, model: Any, interrupted: Callable[[], bool]) -> None:
        with self.world.touch("fetch"):
            self.verified = model.sha256

    def take(self, _service: str) -> None:
        self.verified = ""

    def prune(self, _service: str) -> None: ...


@dataclass
class Certificates:
    world: World

    def is_missing(self, release: Release) -> bool:
        return bool(release.certificate) and release.certificate not in self.world.certificates

    def require(self, release: Release) -> None:
        if not release.certificate:
            return
        with self.world.touch(f"certificate {release.certificate}"):
            if self.world.secrets_away:
                raise StepFailed(Phase.start, "the secret is not on this node")
            self.world.certificates.add(release.certificate)

    def prune(self, _service: str) -> None: ...
    def status(self, _places: object) -> None: ...
