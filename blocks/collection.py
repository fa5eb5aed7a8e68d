"""A source's rows in the store: taken in by one conditional write of the checkpoint, then moved."""

import hashlib
import secrets
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from releases.collection import CHECKPOINTS, PENDING, QUARANTINE, Checkpoint, Load, Piece, folder
from releases.problem import Failed, Superseded
from releases.store import Changed, NotFound, Store

ATTEMPTS = 50
T = TypeVar("T")


@dataclass(frozen=True)
class Gathered:
    """A load's files in a scratch folder, by date, before anything is in the store."""

    files: tuple[tuple[str, Path, int], ...] = ()
    rejected: Path | None = None
    quarantined: int = 0
    hashes: tuple[str, ...] = ()
    newest: str = ""
    state: dict[str, str] | None = None

    @property
    def rows(self) -> dict[str, int]:
        """Date → rows."""
        counted: dict[str, int] = {}
        for day, _, rows in self.files:
            counted[day] = counted.get(day, 0) + rows
        return counted


@dataclass(frozen=True)
class Collection:
    """One run's hold on a source. Killed anywhere and run again: no row twice, none lost."""

    store: Store
    source: str
    run: str

    @classmethod
    def begin(cls, store: Store, source: str) -> "Collection":
        """Take the source over, finish what an earlier run has taken in, throw away what it has not."""
        made = cls(store, source, secrets.token_hex(8))
        for load in made._change(made._claim, mine=False):
            made._finish(load)
        for key in list(store.list(f"{PENDING}{source}/")):
            store.remove(key)
        return made

    def _claim(self, now: Checkpoint) -> list[Load]:
        now.run = self.run
        return now.open

    def checkpoint(self) -> Checkpoint:
        """What is there now. Raises Failed."""
        return self._read()[0]

    def take_in(self, gathered: Gathered, *, replacing: bool) -> Load:
        """Rows, quarantine and cursor at once. Raises Superseded where another run has taken over."""
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
        pieces = self._upload(gathered, name)

        def change(now: Checkpoint) -> Load:
            known = next((load for load in now.open if load.name == name), None)
            if known:  # the answer to an earlier write was lost
                return known
            old = [key for day in gathered.rows for key in self.store.list(folder(self.source, day))]
            load = Load(
                name=name,
                pieces=tuple(pieces),
                instead_of=tuple(old) if replacing else (),
                rows=gathered.rows,
                quarantined=gathered.quarantined,
                newest=gathered.newest,
            )
            now.take_in(load, gathered.state, gathered.hashes, datetime.now(UTC))
            return load

        load = self._change(change)
        self._finish(load)
        return load

    def keep_rejected(self, gathered: Gathered) -> str:
        """Rows of a run that takes nothing in, to look at; the same ones again are the same object."""
        if gathered.rejected is None:
            return ""
        content = gathered.rejected.read_bytes()
        key = f"{QUARANTINE}{self.source}/refused/{hashlib.sha256(content).hexdigest()[:20]}.jsonl"
        self.store.create(key, content)
        return key

    def _upload(self, gathered: Gathered, name: str) -> list[Piece]:
        today = f"{datetime.now(UTC):%Y-%m-%d}"
        waiting = f"{PENDING}{self.source}/{name}/"
        pieces = []
        for number, (day, file, rows) in enumerate(gathered.files):
            piece = Piece(
                pending=f"{waiting}{number}.parquet",
                key=f"{folder(self.source, day)}{name}-{number}.parquet",
                rows=rows,
            )
            self.store.upload(piece.pending, file)
            pieces.append(piece)
        if gathered.rejected is not None:
            key = f"{QUARANTINE}{self.source}/date={today}/{name}.jsonl"
            self.store.upload(f"{waiting}rejected", gathered.rejected)
            pieces.append(Piece(pending=f"{waiting}rejected", key=key, rows=0))
        return pieces

    def _finish(self, load: Load) -> None:
        """Move what was taken in. Done twice, or by two at once, it comes to the same."""
        for key in load.instead_of:
            self.store.remove(key)
        with tempfile.TemporaryDirectory(prefix="model-deploy-collect-") as scratch:
            for piece in load.pieces:
                self._move(piece, Path(scratch) / "piece")
        self._change(lambda now: _close(now, load.name), mine=False)

    def _move(self, piece: Piece, scratch: Path) -> None:
        try:
            self.store.download(piece.pending, scratch)
        except NotFound as error:
            if piece.key not in self.store.list(piece.key):
                raise Failed("a file that was taken in is gone", where=piece.key, got=error.what) from error
            return
        self.store.upload(piece.key, scratch)
        self.store.remove(piece.pending)

    def _change(self, change: Callable[[Checkpoint], T], *, mine: bool = True) -> T:
        """Read, change, write if nobody else has meanwhile; else again. Raises Superseded, Failed."""
        for _ in range(ATTEMPTS):
            now, generation = self._read()
            if mine and now.run != self.run:
                raise Superseded(f"another run collects {self.source} now", where=self._key)
            done = change(now)
            try:
                self.store.replace(self._key, now.model_dump_json().encode(), generation)
            except Changed:
                continue
            return done
        raise Failed("the checkpoint is being changed all the time", where=self._key)

    def _read(self) -> tuple[Checkpoint, int]:
        try:
            data, generation = self.store.read(self._key)
            return Checkpoint.model_validate_json(data), generation
        except NotFound:
            return Checkpoint(), 0
        except ValidationError as error:
            raise Failed("the checkpoint cannot be read", where=self._key) from error

    @property
    def _key(self) -> str:
        return f"{CHECKPOINTS}{self.source}.json"


def _close(now: Checkpoint, load: str) -> None:
    now.open = [one for one in now.open if one.name != load]
