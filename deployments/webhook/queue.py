"""One queue of writes to Prefect: its SQLite takes one writer at a time, and many runs in one write.

A push that another waiting one came on top of is not written: its run would only end as superseded.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from releases.chain import Move, covered, move
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
    before: str = ""  # where the branch stood; empty: nothing is known of it

    @property
    def move(self) -> Move | None:
        """How it moved its branch.

        Not for checks: whether a pull request was forced back GitHub does not say, and reconcile starts none.
        """
        return move(self.start, self.before) if isinstance(self.start, Start) else None

    @property
    def key(self) -> str:
        """The same again starts nothing."""
        return self.start.key(self.delivery)


class NotStored(Exception):  # noqa: N818 - says what happened
    """Prefect has not taken the run, or not said so in time."""


# Stores orders; for each the run's id, or why Prefect refused it.
Store = Callable[[Sequence[Order]], Awaitable[list[UUID | str]]]


@dataclass(frozen=True)
class Stored:
    """The run that stands in Prefect for an order."""

    run: UUID
    covers: bool = False  # it is of a later push, on top of the one that was ordered


@dataclass
class _Waiting:
    order: Order
    stored: "asyncio.Future[Stored]"


@dataclass
class _Write:
    """An order to be written, and those that its run will do for."""

    top: _Waiting
    below: list[_Waiting] = field(default_factory=list)

    def tell(self, result: UUID | str) -> None:
        """Answer everybody who still waits for it."""
        for one in (self.top, *self.below):
            if one.stored.done():
                continue
            if isinstance(result, UUID):
                one.stored.set_result(Stored(result, covers=one is not self.top))
            else:
                one.stored.set_exception(NotStored(result))


class RunQueue:
    """Orders in the order they came; `work` must run beside."""

    def __init__(self, store: Store, capacity: int = CAPACITY) -> None:
        self._store = store
        self._capacity = capacity
        self._waiting: list[_Waiting] = []
        self._some = asyncio.Event()

    @property
    def waiting(self) -> int:
        """How many runs wait to be stored."""
        return len(self._waiting)

    async def stored(self, orders: Sequence[Order]) -> list[Stored]:
        """Wait until Prefect has stored all of them. Raises NotStored, at once where the queue is full.

        A caller that gives up takes back those that nobody has begun to write.
        """
        if self.waiting + len(orders) > self._capacity:
            raise NotStored(f"{self.waiting} runs are waiting to be stored already")
        loop = asyncio.get_running_loop()
        mine = [_Waiting(order, loop.create_future()) for order in orders]
        self._waiting += mine
        self._some.set()
        return list(await asyncio.gather(*(one.stored for one in mine)))

    async def work(self) -> None:
        """Store what waits, until cancelled."""
        while True:
            await self._some.wait()
            batch = self._take()
            if batch:
                await self._write(batch)

    def _take(self) -> list[_Write]:
        """What has waited longest, or what covers it, and with each all that it covers; the rest stays."""
        wanted = [one for one in self._waiting if not one.stored.done()]
        tops = covered([one.order.move for one in wanted])
        writes: dict[int, _Write] = {}
        self._waiting = []
        for at, one in enumerate(wanted):
            top = tops.get(at, at)
            if top not in writes and len(writes) == BATCH:
                self._waiting.append(one)
                continue
            write = writes.setdefault(top, _Write(wanted[top]))
            if top != at:
                write.below.append(one)
        if not self._waiting:
            self._some.clear()
        return list(writes.values())

    async def _write(self, batch: list[_Write]) -> None:
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                results = await self._store([one.top.order for one in batch])
        except Exception as error:  # noqa: BLE001 - whatever it was, the next batch must have its turn
            results = [f"Prefect does not answer ({type(error).__name__})"] * len(batch)
        for one, result in zip(batch, results, strict=True):
            one.tell(result)
