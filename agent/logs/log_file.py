"""One log file of a container, held open: renamed or removed, it can still be read to its end."""

import hashlib
import os
from pathlib import Path

HEAD = 256 << 10  # the engine cuts a line at 16 KiB of text; as JSON that may be six times as long
FORMER_HEAD = 4096
HASH_DIGITS = 20
LONGEST_LINE = 64 << 20


class LogFile:
    """An open json-log file. Known by a hash of its first line, which has a time: inodes are used again."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        stat = os.fstat(self.descriptor)
        self.inode = (stat.st_dev, stat.st_ino)
        self.head = b""
        self.name = ""

    def close(self) -> None:
        """Let go of the file; if it was removed, its space is free now."""
        os.close(self.descriptor)

    def identify(self, *, final: bool = False) -> str:
        """The hash of the whole first line; empty while that is not there yet.

        `final`: nothing will be added, so what is there must do.
        """
        if not self.head:
            start = os.pread(self.descriptor, HEAD, 0)
            line = start[: start.find(b"\n") + 1] or start
            if line.endswith(b"\n") or len(line) == HEAD or final:
                self.head = line
                self.name = _hash(line) if line else ""
        return self.name

    @property
    def former_name(self) -> str:
        """What agents called it that hashed 4 KiB at most; empty where that is the same."""
        return _hash(self.head[:FORMER_HEAD]) if len(self.head) > FORMER_HEAD else ""

    def begin_anew(self) -> None:
        """It was cut to nothing: what it begins with now is another file's first line."""
        self.head, self.name = b"", ""

    def is_same(self) -> bool:
        """Whether it still begins as it did: with one file, the engine rotates by cutting it to nothing."""
        return os.pread(self.descriptor, len(self.head), 0) == self.head

    @property
    def size(self) -> int:
        """Bytes there are now."""
        return os.fstat(self.descriptor).st_size

    @property
    def removed(self) -> bool:
        """Whether it has no name any more."""
        return os.fstat(self.descriptor).st_nlink == 0

    def read(self, offset: int, most: int, *, final: bool = False) -> bytes:
        """Whole lines from the offset on, about `most` bytes; `final`: a torn last line as well."""
        while True:
            block = os.pread(self.descriptor, most, offset)
            end = block.rfind(b"\n") + 1
            if end:
                return block[:end]
            if len(block) < most:
                return block if final else b""
            if most >= LONGEST_LINE:
                return block
            most *= 2


def _hash(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()[:HASH_DIGITS]
