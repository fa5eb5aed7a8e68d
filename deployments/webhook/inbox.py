"""What was taken and is not yet a run in Prefect: on disk, so that a killed receiver loses nothing."""

import asyncio
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from deployments.webhook.log import log_trouble
from deployments.webhook.order import Order

# AUTOINCREMENT: a number that was forgotten is never another order's. A fresh file counts from the time,
# since orders of one that was set aside may still wait.
_TABLE = (
    "CREATE TABLE IF NOT EXISTS orders "
    "(number INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, said TEXT NOT NULL)"
)
_COUNT_FROM = (
    "INSERT INTO sqlite_sequence (name, seq) "
    "SELECT 'orders', ? WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'orders')"
)
_ORDER: TypeAdapter[Order] = TypeAdapter(Order)
LOCKED_SECONDS = 5.0


class NotKept(Exception):  # noqa: N818 - says what happened
    """The disk does not take it, or not give it back."""


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
    error: NotKept | None = None
    done: bool = False


class Inbox:
    """One SQLite file. Two receivers may share it: the same order twice is the same run.

    Nobody may cancel what it has begun: its thread would go on beside the next.
    """

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
            raise mine.error
        return mine.kept

    async def forget(self, numbers: Sequence[int]) -> None:
        """Take away what is a run now. Raises NotKept."""
        async with self._lock:
            await asyncio.to_thread(self._delete, [(number,) for number in numbers])

    async def read(self) -> list[Kept]:
        """What an earlier receiver has left, oldest first. Raises NotKept."""
        async with self._lock:
            return await asyncio.to_thread(self._read)

    def _write(self, batches: list[_Batch]) -> None:
        now = time.time()
        error: NotKept | None = NotKept("the disk was not written to")
        try:
            with self._opened() as database:
                for batch in batches:
                    for order in batch.orders:
                        row = (now, _ORDER.dump_json(order).decode())
                        written = database.execute("INSERT INTO orders (at, said) VALUES (?, ?)", row)
                        batch.kept.append(Kept(written.lastrowid or 0, now, order))
            error = None
        except NotKept as refused:
            error = refused
        finally:  # whatever it was, nobody is told yes who was not written
            for batch in batches:
                batch.error, batch.done = error, True

    def _delete(self, numbers: list[tuple[int]]) -> None:
        with self._opened() as database:
            database.executemany("DELETE FROM orders WHERE number = ?", numbers)

    def _read(self) -> list[Kept]:
        with self._opened() as database:
            rows = database.execute("SELECT number, at, said FROM orders ORDER BY number").fetchall()
        return [kept for row in rows if (kept := _kept(*row))]

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """For one transaction; one thread at a time, the lock sees to it. Raises NotKept."""
        try:
            if self._database is None:
                self._database = _open(self._path)
            with self._database:
                yield self._database
        except (sqlite3.Error, OSError) as error:
            self._database = None  # a fresh start, next time
            if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
                _set_aside(self._path)
            raise NotKept(f"{self._path}: {error}") from error


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    database = sqlite3.connect(path, timeout=LOCKED_SECONDS, check_same_thread=False)
    database.execute("PRAGMA journal_mode = WAL")  # one fsync a transaction
    database.execute("PRAGMA synchronous = FULL")
    with database:
        database.execute(_TABLE)
        database.execute(_COUNT_FROM, (time.time_ns(),))
    return database


def _set_aside(path: Path) -> None:
    """A spoilt file must not keep the next deliveries out; what it held is reconcile's."""
    spoilt = path.with_name(f"{path.name}.spoilt-{time.time_ns()}")
    log_trouble("the inbox is spoilt and was set aside", str(spoilt))
    for ending in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + ending).rename(spoilt.with_name(spoilt.name + ending))


def _kept(number: int, at: float, said: str) -> Kept | None:
    try:
        return Kept(number, at, _ORDER.validate_json(said))
    except ValidationError:  # of another version of ours; reconcile starts what it asked for
        log_trouble("kept by another version, and not understood", f"order {number}")
        return None
