"""The receiver in this process: real HTTP, a store that does as it is told."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import uvicorn
from fastapi import FastAPI

from deployments.webhook.inbox import Inbox
from deployments.webhook.order import Order
from deployments.webhook.prefect_api import Setup
from deployments.webhook.queue import RunQueue
from deployments.webhook.queue import Store as AnyStore
from deployments.webhook.receiver import Limits, make_app
from releases.trigger import Rule, Watched
from tests.controllers import wait_until
from tests.deployments.conftest import Receiver, push

if TYPE_CHECKING:
    from httpx import Response

SECRET = "the secret"
USUAL = Limits(crowd=5)  # the tests wait for the runs
IRIS = Watched(name="iris", repository="acme/models")
SETUP = Setup((Rule("local", "main", (IRIS,), "v*"),), (SECRET, "former"))


@dataclass
class Store:
    """Stores nothing, or what is behind it does, as slowly as it is told."""

    gate: threading.Event = field(default_factory=threading.Event)
    begun: threading.Event = field(default_factory=threading.Event)
    stored: list[Order] = field(default_factory=list)
    writing: int = 0
    most_writing: int = 0
    trouble: list[Exception] = field(default_factory=list)
    refuse: Callable[[Order], bool] = lambda _: False
    behind: AnyStore | None = None

    async def __call__(self, orders: Sequence[Order]) -> list[UUID | str]:
        self.writing += 1
        self.most_writing = max(self.most_writing, self.writing)
        self.begun.set()
        try:
            while not self.gate.is_set():  # noqa: ASYNC110 - it is opened from another thread
                await asyncio.sleep(0.005)
            if self.trouble:
                raise self.trouble.pop()
            if self.behind:
                return await self.behind(orders)
            self.stored += [order for order in orders if not self.refuse(order)]
            return ["Prefect refuses the run" if self.refuse(order) else uuid4() for order in orders]
        finally:
            self.writing -= 1


@contextmanager
def running(
    store: Store,
    setup: Setup | None = SETUP,
    capacity: int = 100,
    limits: Limits = USUAL,
    inbox: Path | None = None,
) -> Iterator[Receiver]:
    """`inbox` is given where what is kept shall outlive this receiver."""
    with TemporaryDirectory(prefix="model-deploy-inbox-") as folder:
        queue = RunQueue(store, Inbox(inbox or Path(folder) / "inbox.db"), capacity)
        with _listening(store, queue, setup, limits) as receiver:
            yield receiver


@contextmanager
def _listening(store: Store, queue: RunQueue, setup: Setup | None, limits: Limits) -> Iterator[Receiver]:

    @asynccontextmanager
    async def lifespan(_: FastAPI):
        work = asyncio.create_task(queue.work())
        yield
        work.cancel()

    app = make_app(lambda: setup, queue, lifespan, limits)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(500)  # who comes before the server waits for it
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    receiver = Receiver(listener.getsockname()[1], SECRET)
    try:
        yield receiver
    finally:
        store.gate.set()
        receiver.client.close()
        server.should_exit = True
        thread.join(20)
        listener.close()


def chain(*commits: str, **changes: object) -> list[dict[str, object]]:
    """Pushes of one branch, each on top of the one before."""
    return [push(after * 40, before=before * 40, **changes) for before, after in pairwise(commits)]


@contextmanager
def sent_while_the_store_is_held_up(
    store: Store, pushes: Sequence[dict[str, object]], setup: Setup = SETUP
) -> Iterator[list["Future[Response]"]]:
    """All of them wait, in this order, when this goes on."""
    store.gate.clear()
    with running(store, setup) as receiver, ThreadPoolExecutor(30) as senders:
        senders.submit(receiver.deliver, push())
        assert store.begun.wait(30)
        sent = []
        for number, one in enumerate(pushes, 2):  # after the one that is being stored
            sent.append(senders.submit(receiver.deliver, one))
            wait_until(lambda so_far=number: waiting(receiver) == so_far, 20)
        try:
            yield sent
        finally:
            store.gate.set()


def waiting(receiver: Receiver) -> int:
    return int(receiver.client.get(f"{receiver.url}/healthz").json()["waiting"])
