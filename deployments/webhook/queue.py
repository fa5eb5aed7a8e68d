"""One queue of writes to Prefect: its SQLite takes one writer at a time, and many runs in one write."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from releases.pull_request import Check
from releases.trigger import Start

CAPACITY = 1000  # waiting runs; more than Prefect stores before GitHub stops listening
BATCH = 10  # larger ones are hardly cheaper, and SQLite refuses a whole one where another writer came between
WRITE_SECONDS = 8.0


@dataclass(frozen=True)
class Order:
    """A run to be stored, and the delivery that asks for it."""

    start: Start | Check
    delivery: str

    @property
    def key(self) -> str:
        """The same again starts nothing."""
        return self.start.key(self.delivery)


class NotStored(Exception):  # noqa: N818 - says what happened
    """Prefect has not taken the run, or not said so in time."""


# Stores orders; for each the run's id, or why Prefect refused it.
Store = Callable[[Sequence[Order]], Awaitable[list[UUID | str]]]


@dataclass(frozen=True)
class _Waiting:
    order: Order
    stored: "asyncio.Future[UUID]"


class RunQueue:
    """Orders in the order they came; `work` must run beside."""

    def __init__(self, store: Store, capacity: int = CAPACITY) -> None:
        self._store = store
        self._capacity = capacity
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue()

    @property
    def waiting(self) -> int:
        """How many runs wait to be stored."""
        return self._queue.qsize()

    async def stored(self, orders: Sequence[Order]) -> list[UUID]:
        """Wait until Prefect has stored all of them. Raises NotStored, at once where the queue is full.

        A caller that gives up takes back those that nobody has begun to write.
        """
        if self.waiting + len(orders) > self._capacity:
            raise NotStored(f"{self.waiting} runs are waiting to be stored already")
        loop = asyncio.get_running_loop()
        mine = [_Waiting(order, loop.create_future()) for order in orders]
        for one in mine:
            self._queue.put_nowait(one)
        return list(await asyncio.gather(*(one.stored for one in mine)))

    async def work(self) -> None:
        """Store what waits, until cancelled."""
        while True:
            batch = [await self._queue.get()]
            while len(batch) < BATCH and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            wanted = [one for one in batch if not one.stored.done()]
            if wanted:
                await self._write(wanted)

    async def _write(self, batch: list[_Waiting]) -> None:
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                results = await self._store([one.order for one in batch])
        except Exception as error:  # noqa: BLE001 - whatever it was, the next batch must have its turn
            results = [f"Prefect does not answer ({type(error).__name__})"] * len(batch)
        for one, result in zip(batch, results, strict=True):
            if one.stored.done():
                continue
            if isinstance(result, UUID):
                one.stored.set_result(result)
            else:
                one.stored.set_exception(NotStored(result))
