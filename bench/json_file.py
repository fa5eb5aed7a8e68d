"""Writes container log files and rotates them as the engine's json-file driver does."""

import json
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path


def line(
    log: str, stream: str = "stdout", at: datetime | None = None, nanoseconds: int = 123_456_789
) -> bytes:
    """One line as the engine writes it: nanoseconds without trailing zeros."""
    second = (at or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f"{nanoseconds:09d}".rstrip("0")
    time = f"{second}.{fraction}Z" if fraction else f"{second}Z"
    record = {"log": log, "stream": stream, "time": time}
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


class JsonFile:
    """One container's log files."""

    def __init__(self, containers: Path, container: str, max_size: int, max_file: int) -> None:
        self.folder = containers / container
        self.folder.mkdir(parents=True, exist_ok=True)
        self.base = self.folder / f"{container}-json.log"
        self.max_size = max_size
        self.max_file = max_file
        self.file = self.base.open("ab", buffering=0)
        self.size = self.file.tell()
        self.rotations = 0

    def write(self, raw: bytes) -> None:
        """Whole raw lines in one write; rotated before, never inside."""
        if self.size + len(raw) > self.max_size and self.size:
            self.rotate()
        self.file.write(raw)
        self.size += len(raw)

    def write_all(self, lines: Iterable[bytes]) -> None:
        """Line by line."""
        for each in lines:
            self.write(each)

    def rotate(self) -> None:
        """Close, rename upwards, open anew; the oldest is overwritten by the rename."""
        self.file.close()
        self.rotations += 1
        if self.max_file == 1:
            self.file = self.base.open("wb", buffering=0)
        else:
            for number in range(self.max_file - 1, 1, -1):
                older = self.base.with_name(f"{self.base.name}.{number - 1}")
                if older.exists():
                    os.replace(older, self.base.with_name(f"{self.base.name}.{number}"))  # noqa: PTH105
            os.replace(self.base, self.base.with_name(f"{self.base.name}.1"))  # noqa: PTH105
            self.file = self.base.open("ab", buffering=0)
        self.size = 0

    def remove(self) -> None:
        """The container is removed with everything."""
        self.file.close()
        for path in self.folder.iterdir():
            path.unlink()
        self.folder.rmdir()
