"""Simulated agents: VMs of the sandbox "boot" one each. The node's own rules; containers are only data.

Each watches its VM's metadata server as the real one does, and answers on the VM's own address as the edge
does: the status, and the service with the release in a header. All of them share one thread, so a thousand
fit on a small machine.
"""

import asyncio
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from releases import swap, swap_memory, swap_steps
from releases.acme import CHALLENGES
from releases.desired import Desired, ServiceDesired
from releases.node_boot import given_back
from releases.release import Release
from releases.status import (
    CANDIDATE_HEADER,
    RELEASE_HEADER,
    STATUS_PATH,
    Failure,
    NodeStatus,
    Phase,
    ServiceStatus,
)
from releases.swap_memory import Clock, Container, Memory, Running
from sandbox.compute.instance import Instance

WATCH = "/computeMetadata/v1/instance/attributes/?recursive=true&alt=json&wait_for_change=true&timeout_sec=60"
KEY = "model-deploy"
PAUSE = 0.2
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
                self.phase, self.rest = Phase.probe, PAUSE  # a confirmed one is tried again, a bit later
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


@dataclass
class Agent:
    """One node: its services, its watch, its edge."""

    vm: Instance
    metadata_port: int
    port: int
    breaks: Callable[[str, Release], str]
    pulls: Callable[[str], float] = lambda _: 0.0
    services: dict[str, Service] = field(default_factory=dict)
    etag: str = "0"
    problem: str = ""
    keys: dict[str, str] = field(default_factory=dict)
    account: str = ""  # the ACME account whose challenges are answered
    tasks: list["asyncio.Task[None]"] = field(default_factory=list)
    edge: asyncio.Server | None = None
    missed: int = 0  # questions while it was killed
    clients: set[asyncio.StreamWriter] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self) -> None:
        await self.listen()
        await self.run()

    async def run(self) -> None:
        """What it remembered is on the disk; what is wanted it asks anew."""
        self.etag = "0"
        self.tasks = [asyncio.create_task(self._watch()), asyncio.create_task(self._keep_time())]

    async def kill(self) -> None:
        """The agent alone: the edge and the containers go on."""
        for task in self.tasks:
            task.cancel()
        self.tasks = []

    async def listen(self) -> None:
        self.edge = await asyncio.start_server(self._serve, self.vm.address, self.port)

    async def stop(self) -> None:
        await self.kill()
        await self.hide()

    async def hide(self) -> None:
        """From outside it cannot be reached any more; the agent goes on."""
        if self.edge:
            self.edge.close()
            self.edge = None
        for writer in self.clients:
            writer.transport.abort()

    async def _watch(self) -> None:
        while True:
            try:
                await self._follow()
            except (OSError, ValueError, asyncio.IncompleteReadError):
                await asyncio.sleep(PAUSE)  # the metadata server is away for a moment

    async def _follow(self) -> None:
        reader, writer = await asyncio.open_connection(self.vm.address, self.metadata_port)
        try:
            while True:
                path = f"{WATCH}&last_etag={self.etag}"
                writer.write(f"GET {path} HTTP/1.1\r\nHost: m\r\nMetadata-Flavor: Google\r\n\r\n".encode())
                status, headers, body = await _message(reader)
                if " 200 " not in status + " ":
                    raise ValueError(status)
                self.etag = headers["etag"]
                attributes = json.loads(body)
                if given_back(attributes):
                    await self.hide()
                    await asyncio.Event().wait()
                self._want(attributes.get(KEY, ""))
        finally:
            writer.close()

    def _want(self, text: str) -> None:
        try:
            desired = Desired.model_validate_json(text) if text else Desired()
        except ValueError as error:
            self.problem = str(error).splitlines()[0]
            return
        self.problem, self.account = "", desired.acme
        for name, wanted in desired.services.items():
            fresh = Service(lambda one: self.breaks(self.vm.name, one), lambda: self.pulls(self.vm.name))
            service = self.services.setdefault(name, fresh)
            service.wanted = wanted
            self.keys |= {name: wanted.candidate.key_sha256} if wanted.candidate else {}
            service.reconcile()
        self.changed.set()

    async def _keep_time(self) -> None:
        """Wake when a window ends."""
        while True:
            rests = [one.rest for one in self.services.values() if one.rest is not None]
            self.changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(rests) + 0.01 if rests else None):
                    await self.changed.wait()
            for service in self.services.values():
                service.reconcile()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.clients.add(writer)
        try:
            while True:
                line, headers, _ = await _message(reader)
                writer.write(self._answer(line.split(" ")[1], headers))
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, IndexError):
            pass
        finally:
            self.clients.discard(writer)
            writer.close()

    def _answer(self, path: str, headers: dict[str, str]) -> bytes:
        if path == STATUS_PATH and not self.tasks:
            self.missed += 1
            return _response("503 Service Unavailable", "{}")
        if path == STATUS_PATH:
            services = {name: one.status() for name, one in self.services.items()}
            node = NodeStatus(
                node=self.vm.name, at=datetime.now(UTC), problem=self.problem, services=services
            )
            token = headers.get(CANDIDATE_HEADER.lower(), "")
            return _response("200 OK", node.shown_to(token, self.keys).model_dump_json())
        if path.startswith(CHALLENGES) and self.account:
            return _response("200 OK", f"{path.removeprefix(CHALLENGES)}.{self.account}")
        token = headers.get(CANDIDATE_HEADER.lower(), "")
        found = [one for service in self.services.values() if (one := service.answering(token))]
        if not found:
            return _response("503 Service Unavailable", "{}")
        answer = found[0].run.env.get("BEHAVIOUR", "right")
        return _response("200 OK", json.dumps({"answer": answer}), f"{RELEASE_HEADER}: {found[0].number}\r\n")


async def _message(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in head[1:] if line)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    return head[0], headers, await reader.readexactly(int(headers.get("content-length", 0)))


def _response(status: str, body: str, more: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body.encode())}\r\n"
    return f"{head}{more}\r\n{body}".encode()


class Agents:
    """What the sandbox's VMs boot: a `sandbox.machine.Machine`."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.metadata_port: Callable[[], int] = lambda: 0  # known once the sandbox runs
        self.of: dict[str, Agent] = {}
        self.disks: dict[str, dict[str, Service]] = {}  # by the VM's id: what outlives a reboot
        self.broken: dict[tuple[str, int], str] = {}
        self.pulls: dict[str, float] = {}  # seconds, of VMs where that takes a while
        self.loop = asyncio.new_event_loop()

    def power_on(self, vm: Instance) -> None:
        services = self.disks.setdefault(vm.id, {})
        for service in services.values():
            service.reboot()
        agent = Agent(
            vm,
            self.metadata_port(),
            self.port,
            self._breaks,
            lambda name: self.pulls.get(name, 0.0),
            services,
        )
        self.of[vm.name] = agent
        self.do(agent.start)

    def power_off(self, vm: Instance) -> None:
        agent = self.of.pop(vm.name, None)
        if agent:
            self.do(agent.stop)

    def discard(self, vm: Instance) -> None:
        self.disks.pop(vm.id, None)

    def do(self, work: Callable[[], object]) -> None:
        asyncio.run_coroutine_threadsafe(work(), self.loop).result(10)  # type: ignore[arg-type]

    def breaks(self, vm: str, release: int, reason: str = "the container exited: exit code 3") -> None:
        """On this VM that release does not become ready."""
        self.broken[vm, release] = reason

    def _breaks(self, vm: str, release: Release) -> str:
        return self.broken.get((vm, release.number), "")


@contextmanager
def running(port: int) -> Iterator[Agents]:
    agents = Agents(port)
    thread = threading.Thread(target=agents.loop.run_forever, name="agents", daemon=True)
    thread.start()
    try:
        yield agents
    finally:
        agents.loop.call_soon_threadsafe(agents.loop.stop)
        thread.join(10)
