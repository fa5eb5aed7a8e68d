"""What was taken and is not yet a run in Prefect: on disk, so that a killed receiver loses nothing."""

import asyncio
import sqlite3
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from deployments.webhook.log import LOGGER
from deployments.webhook.order import Order

_TABLE = "CREATE TABLE IF NOT EXISTS orders (number INTEGER PRIMARY KEY, at REAL NOT NULL, said TEXT)"
_ORDER: TypeAdapter[Order] = TypeAdapter(Order)
LOCKED_SECONDS = 5.0


class NotKept(Exception):  # noqa: N818 - says what happened
    """The disk does not take it."""


@dataclass(frozen=True)
class Kept:
    """An order on disk; `at` is when it came, in seconds since 1970."""

    number: int
    at: float
    order: Order


@dataclass
class _Batch:
    """What one sender asks for, and what came of it."""

    orders: Sequence[Order]
    kept: list[Kept] = field(default_factory=list)
    error: Exception | None = None
    done: bool = False


class Inbox:
    """One SQLite file. Two receivers may share it: the same order twice is the same run."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = asyncio.Lock()
        self._next: list[_Batch] = []
        self._database: sqlite3.Connection | None = None

    async def keep(self, orders: Sequence[Order]) -> list[Kept]:
        """Write them down; on disk when this returns. Raises NotKept.

        Everybody who comes while the disk is busy is written in one transaction after it.
        """
        mine = _Batch(orders)
        self._next.append(mine)
        async with self._lock:
            if not mine.done:
                batches, self._next = self._next, []
                await asyncio.to_thread(self._write, batches)
        if mine.error:
            raise NotKept(f"{type(mine.error).__name__}: {mine.error}") from mine.error
        return mine.kept

    async def forget(self, numbers: Iterable[int]) -> None:
        """Take away what is a run now. What the disk does not forget is the same run once more."""
        async with self._lock:
            await asyncio.to_thread(self._delete, [(number,) for number in numbers])

    async def read(self) -> list[Kept]:
        """What an earlier receiver has left, oldest first."""
        async with self._lock:
            return await asyncio.to_thread(self._read)

    def _write(self, batches: list[_Batch]) -> None:
        now = time.time()
        try:
            with self._opened() as database:
                for batch in batches:
                    for order in batch.orders:
                        row = (now, _ORDER.dump_json(order).decode())
                        written = database.execute("INSERT INTO orders (at, said) VALUES (?, ?)", row)
                        batch.kept.append(Kept(written.lastrowid or 0, now, order))
        except (sqlite3.Error, OSError) as error:
            for batch in batches:
                batch.error = error
        for batch in batches:
            batch.done = True

    def _delete(self, numbers: list[tuple[int]]) -> None:
        with self._opened() as database:
            database.executemany("DELETE FROM orders WHERE number = ?", numbers)

    def _read(self) -> list[Kept]:
        with self._opened() as database:
            rows = database.execute("SELECT number, at, said FROM orders ORDER BY number").fetchall()
        return [kept for row in rows if (kept := _kept(*row))]

    def _opened(self) -> sqlite3.Connection:
        """As a context: a transaction. One thread at a time, the lock sees to it."""
        if self._database is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self._path, timeout=LOCKED_SECONDS, check_same_thread=False)
            self._database.execute("PRAGMA journal_mode = WAL")  # one fsync a transaction
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.execute(_TABLE)
        return self._database


def _kept(number: int, at: float, said: str) -> Kept | None:
    try:
        return Kept(number, at, _ORDER.validate_json(said))
    except ValidationError:  # of another version of ours; reconcile starts what it asked for
        LOGGER.warning('{"status": "not understood", "kept": %d}', number)
        return None
