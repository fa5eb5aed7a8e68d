"""Storage behind one small protocol: a directory and Cloud Storage pass the same tests."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from releases.problem import BadInput, Failed, Problem

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class AlreadyExists(Problem):
    """A create-only write met an object with other content."""


class Changed(Problem):
    """A conditional replace met another generation than the one that was read."""


class NotFound(Problem):
    """No such object."""


@contextmanager
def no_room_said(doing: str, where: str) -> Iterator[None]:
    """Turn a full disk into a Problem; whatever else fails stays as it is. Raises Failed."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise Failed(
            f"cannot {doing}: there is no room left",
            where,
            got=error.strerror or str(error),
            next_step="make room there, then the same again",
        ) from error


def key_parts(key: str) -> tuple[str, ...]:
    """The key's parts. Raises BadInput for what would leave the store."""
    parts = Path(key).parts
    if not parts or key.startswith("/") or ".." in parts:
        raise BadInput("this is not a key", expected="a/b/c", got=key)
    return parts


@dataclass(frozen=True)
class Stored:
    """What a store says of an object without giving it out."""

    size: int
    crc32c: str  # base64 of the four bytes, as Cloud Storage writes it


Moved = Callable[[int], None]  # told how many more bytes have gone over; what it raises ends the transfer


def nobody(_: int) -> None:
    """Nobody wants to know how many bytes have gone over."""


class Store(Protocol):
    """Objects by key ('a/b/c'); every write is whole or not at all."""

    def create(self, key: str, data: bytes) -> None:
        """Write once. The same bytes again are fine; others raise AlreadyExists."""

    def replace(self, key: str, data: bytes, if_generation: int) -> int:
        """Write if the generation is still this one (0: if it does not exist). Raises Changed."""

    def read(self, key: str) -> tuple[bytes, int]:
        """Content and generation. Raises NotFound."""

    def list(self, prefix: str) -> Iterator[str]:
        """Keys that start with the prefix, sorted."""

    def stat(self, key: str) -> Stored:
        """Size and checksum. Raises NotFound."""

    def upload(self, key: str, file: Path, moved: Moved = nobody) -> str:
        """Create-only from a file; returns its SHA-256 in hex. Raises AlreadyExists."""

    def download(self, key: str, file: Path, moved: Moved = nobody) -> str:
        """To a file, whole or not at all; returns its SHA-256 in hex. Raises NotFound."""

    def address(self, key: str) -> str:
        """Where a person finds it, for links."""

    def remove(self, key: str) -> None:
        """Take away; what is gone already is fine. Only for what another object has replaced."""
