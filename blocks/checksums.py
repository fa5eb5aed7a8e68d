"""Checksums of files: CRC32C, which Cloud Storage keeps of every object, and SHA-256."""

import base64
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import google_crc32c

from releases.store import Moved, nobody

BLOCK = 1 << 20


@dataclass(frozen=True)
class Checksums:
    """Of one file, read once."""

    size: int
    crc32c: str
    sha256: str


class Summed:
    """A file that is summed up while somebody reads it; what is read again (a retry) counts once."""

    def __init__(self, opened: BinaryIO, moved: Moved = nobody) -> None:
        self._opened = opened
        self._moved = moved
        self._crc = 0
        self._sha = hashlib.sha256()
        self._upto = 0

    def read(self, size: int = -1) -> bytes:
        """As of a file."""
        start = self._opened.tell()
        block = self._opened.read(size)
        new = block[self._upto - start :] if start < self._upto else block
        if new:
            self._crc = google_crc32c.extend(self._crc, new)
            self._sha.update(new)
            self._upto += len(new)
            self._moved(len(new))
        return block

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of a file."""
        return self._opened.seek(offset, whence)

    def tell(self) -> int:
        """As of a file."""
        return self._opened.tell()

    def reach(self, offset: int) -> None:
        """Sum up what comes before, where nobody has read it. Raises OSError."""
        self._opened.seek(self._upto)
        while self._upto < offset and self.read(min(BLOCK, offset - self._upto)):
            pass

    def sums(self) -> Checksums:
        """Of the whole file; what nobody has read is read now. Raises OSError."""
        self._opened.seek(self._upto)
        while self.read(BLOCK):
            pass
        return Checksums(self._upto, _written(self._crc), self._sha.hexdigest())


def checksums_of(file: Path, moved: Moved = nobody) -> Checksums:
    """Read the file once. Raises OSError."""
    with file.open("rb") as opened:
        return Summed(opened, moved).sums()


def crc32c_of(file: Path) -> str:
    """As Cloud Storage writes it. Raises OSError."""
    crc = 0
    with file.open("rb") as opened:
        while block := opened.read(BLOCK):
            crc = google_crc32c.extend(crc, block)
    return _written(crc)


def crc32c_of_bytes(data: bytes) -> str:
    """As Cloud Storage writes it."""
    return _written(google_crc32c.value(data))


def _written(crc: int) -> str:
    return base64.b64encode(crc.to_bytes(4, "big")).decode()
