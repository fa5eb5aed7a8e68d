"""One queue of writes to Prefect: its SQLite takes one writer at a time, and many runs in one write.

What waits is on disk before its sender hears yes, so it may wait for as long as Prefect is slow or away.
A push that another waiting one came on top of is not written: its run would only end as superseded.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from deployments.webhook.inbox import Inbox, Kept, NotKept
from deployments.webhook.log import log_kept, log_trouble
from deployments.webhook.order import Order
from releases.chain import covered

CAPACITY = 5_000  # waiting runs: some minutes of Prefect's work
BATCH = 10  # larger ones are hardly cheaper, and SQLite refuses a whole one where another writer came between
WRITE_SECONDS = 8.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0  # seconds, while Prefect takes nothing
REFUSED_SECONDS = 30.0  # for how long the disk's refusal shows in the health
KEEP_SECONDS = 24 * 3600.0  # a run that Prefect refuses for so long is reconcile's


class Full(Exception):  # noqa: N818 - says what happened
    """More waits than is taken."""


# Stores orders; for each the run's id, or why Prefect refused it.
Store = Callable[[Sequence[Order]], Awaitable[list[UUID | str]]]


@dataclass(frozen=True)
class Stored:
    """The run that stands in Prefect for an order."""

    run: UUID
    covers: bool = False  # it is of a later push, on top of the one that was ordered


@dataclass
class _Waiting:
    kept: Kept
    stored: "asyncio.Future[Stored]"
    answered: bool = False  # its sender went away without the run's id: the log tells it
    refusal: str = ""  # Prefect's last

    def log(self, status: Literal["stored", "refused", "given up"], run: str = "") -> None:
        """What became of it after the answer."""
        if self.answered:
            reason = "" if run else self.refusal
            log_kept(self.kept.order.delivery, time.time() - self.kept.at, status, reason, run)

    def leave(self) -> None:
        """Its sender waits no longer."""
        self.answered = True
        if self.refusal and not self.stored.done():
            self.log("refused")

    def waits_again(self, reason: str, *, answered: bool) -> bool:
        """Whether it still does after a refusal; said once, and when it is given up.

        `answered`: by Prefect; for one that is away it may wait for ever.
        """
        first, self.refusal = not self.refusal, reason
        gives_up = answered and self.kept.at < time.time() - KEEP_SECONDS
        if gives_up or first:
            self.log("given up" if gives_up else "refused")
        return not gives_up


@dataclass
class _Write:
    """An order to be written, and those that its run will do for."""

    top: _Waiting
    below: list[_Waiting] = field(default_factory=list)

    @property
    def all(self) -> list[_Waiting]:
        """Everything that is settled with it."""
        return [self.top, *self.below]

    def tell(self, run: UUID) -> None:
        """Answer everybody who waits for it."""
        for one in self.all:
            one.stored.set_result(Stored(run, covers=one is not self.top))
            one.log("stored", run=str(run))


class RunQueue:
    """Orders in the order they came; `work` must run beside."""

    def __init__(self, store: Store, inbox: Inbox, capacity: int = CAPACITY) -> None:
        self._store = store
        self._inbox = inbox
        self._capacity = capacity
        self._coming = 0  # the disk is taking them
        self._waiting: list[_Waiting] = []  # those that Prefect is taking included
        self._new = asyncio.Event()
        self._settled: list[int] = []  # what the disk has still to forget
        self._refusal, self._refused_at = "", 0.0  # the disk's last

    @property
    def waiting(self) -> int:
        """How many runs were asked for that Prefect has not stored yet."""
        return self._coming + len(self._waiting)

    @property
    def fresh(self) -> int:
        """How many of them Prefect has not refused yet."""
        return self.waiting - sum(bool(one.refusal) for one in self._waiting)

    @property
    def trouble(self) -> str:
        """Why nothing would be taken now; empty where it would."""
        if self.waiting >= self._capacity:
            return f"{self.waiting} runs are waiting to be stored already"
        # Not for ever: who gets no delivery would never see that the disk takes them again.
        return self._refusal if time.monotonic() - self._refused_at < REFUSED_SECONDS else ""

    async def take(self, orders: Sequence[Order], patience: float) -> list[Stored | None]:
        """Keep all of them on disk, then wait a little for their runs; None for one that Prefect has not yet.

        Raises Full; NotKept where the disk takes nothing. Who gives up waiting takes nothing back.
        """
        if self.waiting + len(orders) > self._capacity:
            raise Full(f"{self.waiting} runs are waiting to be stored already")
        self._coming += len(orders)
        keeping = asyncio.create_task(self._keep(orders))
        try:
            mine = await asyncio.shield(keeping)
            await asyncio.wait([one.stored for one in mine], timeout=patience)
        except asyncio.CancelledError:
            keeping.add_done_callback(_leave)
            raise
        for one in mine:
            one.leave()
        return [one.stored.result() if one.stored.done() else None for one in mine]

    async def _keep(self, orders: Sequence[Order]) -> list[_Waiting]:
        try:
            mine = self._add(await self._inbox.keep(orders))
        except NotKept as error:
            self._refusal, self._refused_at = str(error), time.monotonic()
            raise
        finally:
            self._coming -= len(orders)
        self._refusal = ""
        return mine

    def _add(self, kept: Sequence[Kept]) -> list[_Waiting]:
        loop = asyncio.get_running_loop()
        mine = [_Waiting(one, loop.create_future()) for one in kept]
        self._waiting += mine
        self._new.set()
        return mine

    async def work(self) -> None:
        """Store what waits, what an earlier receiver left first, until cancelled."""
        found = await self._left()
        known = {one.kept.number for one in self._waiting}  # what came meanwhile, too
        for left in self._add([one for one in found if one.number not in known]):
            left.leave()
        pause = FIRST_PAUSE
        while True:
            while not self._waiting:
                self._new.clear()
                await self._new.wait()
            self._new.clear()
            if await self._write(self._next()):
                pause = FIRST_PAUSE
                continue
            if any(not one.refusal for one in self._waiting):
                continue
            with suppress(TimeoutError):  # what comes meanwhile asks Prefect at once
                await asyncio.wait_for(self._new.wait(), pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _left(self) -> list[Kept]:
        """What an earlier receiver has left, as soon as the disk gives it."""
        pause = FIRST_PAUSE
        while True:
            try:
                return await self._inbox.read()
            except NotKept as error:
                log_trouble("what was left is not read yet", str(error))
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _next(self) -> list[_Write]:
        """What has waited longest, or what covers it, and with each all that it covers.

        What was refused comes last: it must not keep the others out.
        """
        self._waiting.sort(key=lambda one: bool(one.refusal))
        tops = covered([one.kept.order.move for one in self._waiting])
        writes: dict[int, _Write] = {}
        for at, one in enumerate(self._waiting):
            top = tops.get(at, at)
            if top not in writes and len(writes) == BATCH:
                continue
            write = writes.setdefault(top, _Write(self._waiting[top]))
            if top != at:
                write.below.append(one)
        return list(writes.values())

    async def _write(self, batch: list[_Write]) -> bool:
        """Whether Prefect took any of them; what it did not take waits on."""
        answered = True
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                results = await self._store([one.top.kept.order for one in batch])
        except Exception as error:  # noqa: BLE001 - whatever it was, the next batch must have its turn
            answered = False
            results = [f"Prefect does not answer ({type(error).__name__})"] * len(batch)
        settled: set[int] = set()
        for write, result in zip(batch, results, strict=True):
            if isinstance(result, UUID):
                write.tell(result)
                settled |= {one.kept.number for one in write.all}
            else:
                given_up = [one for one in write.all if not one.waits_again(result, answered=answered)]
                settled |= {one.kept.number for one in given_up}
        self._waiting = [one for one in self._waiting if one.kept.number not in settled]
        self._settled += settled
        await self._forget()
        return any(isinstance(result, UUID) for result in results)

    async def _forget(self) -> None:
        """What the disk does not forget now it forgets later; until then it is the same run once more."""
        try:
            await self._inbox.forget(self._settled)
        except NotKept as error:
            log_trouble("what is stored is not forgotten yet", str(error))
        else:
            self._settled.clear()


def _leave(keeping: "asyncio.Task[list[_Waiting]]") -> None:
    """Whoever asked for it hung up before the disk was done."""
    if not keeping.cancelled() and keeping.exception() is None:
        for one in keeping.result():
            one.leave()
