"""A directory as a store: the local environment's bucket."""

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal

from prefect.blocks.core import Block
from pydantic import Field

from blocks.checksums import crc32c_of
from blocks.light_block import LightBlock
from releases.on_disk import sync
from releases.store import AlreadyExists, Changed, Moved, NotFound, Stored, key_parts, no_room_said, nobody

LOCK = ".lock"
BLOCK = 1 << 20


class DirectoryStore(LightBlock, Block):
    """Implements releases.store.Store on files; every write is a rename or a link."""

    _block_type_name = "Directory Store"
    _block_type_slug = "directory-store"

    type: Literal["directory"] = "directory"
    path: Path
    keep_logs: int = Field(400, ge=1, description="Days; then exported logs are deleted.")

    def create(self, key: str, data: bytes) -> None:
        """Write once; the same bytes again are fine. Raises AlreadyExists."""
        with self._fresh(key) as (fresh, path):
            _write(fresh, data)
            self._link(fresh, path, key)

    def replace(self, key: str, data: bytes, if_generation: int) -> int:
        """Write if the generation is still this one. Raises Changed."""
        with self._locked(), self._fresh(key) as (fresh, path):
            now = _generation(path.read_bytes()) if path.exists() else 0
            if now != if_generation:
                raise Changed(f"{key} has changed meanwhile", expected=str(if_generation), got=str(now))
            _write(fresh, data)
            fresh.replace(path)
            sync(path.parent)
            return _generation(data)

    def read(self, key: str) -> tuple[bytes, int]:
        """Content and generation. Raises NotFound."""
        try:
            data = self._path(key).read_bytes()
        except FileNotFoundError as error:
            raise NotFound(f"there is no {key}", where=str(self.path)) from error
        return data, _generation(data)

    def list(self, prefix: str) -> Iterator[str]:
        """Keys that start with the prefix, sorted."""
        below = self.path / prefix.rpartition("/")[0]  # a look at the models need not go through all logs
        found = (file.relative_to(self.path).as_posix() for file in below.rglob("*") if file.is_file())
        yield from sorted(
            key for key in found if key.startswith(prefix) and not Path(key).name.startswith(".")
        )

    def stat(self, key: str) -> Stored:
        """Size and checksum. Raises NotFound."""
        path = self._path(key)
        try:
            return Stored(path.stat().st_size, crc32c_of(path))
        except FileNotFoundError as error:
            raise NotFound(f"there is no {key}", where=str(self.path)) from error

    def upload(self, key: str, file: Path, moved: Moved = nobody) -> str:
        """Create-only from a file; returns its SHA-256. Raises AlreadyExists."""
        with self._fresh(key) as (fresh, path):
            with file.open("rb") as source, fresh.open("wb") as target:
                digest = _copy(source, target, moved)
                target.flush()
                os.fsync(target.fileno())
            self._link(fresh, path, key)
        return digest

    def download(self, key: str, file: Path, moved: Moved = nobody) -> str:
        """To a file, whole or not at all; returns its SHA-256. Raises NotFound."""
        fresh = file.with_name(f".{file.name}.part")
        try:
            with (
                no_room_said(f"fetch {key}", str(file.parent)),
                self._path(key).open("rb") as source,
                fresh.open("wb") as target,
            ):
                digest = _copy(source, target, moved)
            fresh.replace(file)
        except FileNotFoundError as error:
            raise NotFound(f"there is no {key}", where=str(self.path)) from error
        finally:
            fresh.unlink(missing_ok=True)
        return digest

    def address(self, key: str) -> str:
        """Where a person finds it."""
        return self._path(key).absolute().as_uri()

    def remove(self, key: str) -> None:
        """Take away; what is gone already is fine."""
        self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self.path.joinpath(*key_parts(key))

    @contextmanager
    def _fresh(self, key: str) -> Iterator[tuple[Path, Path]]:
        """A file beside the key's own that is gone afterwards, whatever happens."""
        path = self._path(key)
        with no_room_said(f"write {key}", str(self.path)):
            _make(path.parent)
            handle, name = tempfile.mkstemp(prefix=".new-", dir=path.parent)
            os.close(handle)
            try:
                yield Path(name), path
            finally:
                Path(name).unlink(missing_ok=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _link(self, fresh: Path, path: Path, key: str) -> None:
        """Unlike a rename, a link never replaces what is there."""
        try:
            os.link(fresh, path)
            sync(path.parent)
        except FileExistsError as error:
            if _sha256(path) != _sha256(fresh):
                raise AlreadyExists(
                    f"{key} is there already, with other content", where=str(self.path)
                ) from error


def _write(file: Path, data: bytes) -> None:
    """On disk when it returns: what it was made from may be deleted next."""
    with file.open("wb") as opened:
        opened.write(data)
        opened.flush()
        os.fsync(opened.fileno())


def _make(folder: Path) -> None:
    """With those above it, their names on disk too."""
    if not folder.exists():
        _make(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


def _generation(data: bytes) -> int:
    """From the content: enough to see that somebody has written in between."""
    return int.from_bytes(hashlib.sha256(data).digest()[:6]) + 1


def _copy(source: BinaryIO, target: BinaryIO, moved: Moved) -> str:
    """Everything from here to there; the SHA-256 of what was copied."""
    digest = hashlib.sha256()
    while block := source.read(BLOCK):
        target.write(block)
        digest.update(block)
        moved(len(block))
    return digest.hexdigest()


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
