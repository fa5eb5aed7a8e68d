"""Simulated agents: VMs of the sandbox "boot" one each. The node's own rules; containers are only data.

Each watches its VM's metadata server as the real one does, and answers on the VM's own address as the edge
does: the status, and the service with the release in a header. All of them share one thread, so a thousand
fit on a small machine.
"""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from bench.simulated_service import Service
from releases.acme import CHALLENGES
from releases.desired import Desired
from releases.node_boot import given_back
from releases.release import Release
from releases.status import CANDIDATE_HEADER, RELEASE_HEADER, STATUS_PATH, NodeStatus
from sandbox.compute.instance import Instance

WATCH = "/computeMetadata/v1/instance/attributes/?recursive=true&alt=json&wait_for_change=true&timeout_sec=60"
KEY = "model-deploy"
PAUSE = 0.2  # until the metadata server is asked again


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
