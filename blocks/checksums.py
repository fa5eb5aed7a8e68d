"""Checksums of files: CRC32C, which Cloud Storage keeps of every object, and SHA-256."""

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path

import google_crc32c

from releases.store import Moved, nobody

BLOCK = 1 << 20


@dataclass(frozen=True)
class Checksums:
    """Of one file, read once."""

    size: int
    crc32c: str
    sha256: str


def checksums_of(file: Path, moved: Moved = nobody) -> Checksums:
    """Read the file once. Raises OSError."""
    size, crc, sha = 0, 0, hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(BLOCK):
            crc = google_crc32c.extend(crc, block)
            sha.update(block)
            size += len(block)
            moved(len(block))
    return Checksums(size, _written(crc), sha.hexdigest())


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
