"""Segments on disk: one being written per container, the finished ones until they are uploaded."""

import os
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import zstandard

from agent.logs.hours import start_of
from agent.memory import write
from releases.log_segment import Gap, Header, Name, Origin, Place, header_frame, read_header
from releases.on_disk import sync

LEVEL = 1  # on log lines twice as fast as 3, and not larger (bench/log_export.py)
BLOCK = 4096  # what even a tiny file takes on disk


class OpenSegment:
    """A segment that is being written, under a temporary name."""

    def __init__(self, path: Path, header: Header, name: Name, hour: str) -> None:
        self.path = path
        self.header = header
        self.name = name
        self.hour = hour
        self.end = name.start
        self.since = time.monotonic()
        self.file = path.open("wb")
        self.file.write(header_frame(header))
        self.compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compressobj()

    @property
    def size(self) -> int:
        """Raw bytes in it."""
        return self.end - self.name.start

    def add(self, lines: bytes) -> None:
        """Whole lines that follow what is there."""
        self.file.write(self.compressor.compress(lines))
        self.end += len(lines)

    def finish(self) -> Place:
        """On disk when it returns; where it belongs now that its end is known."""
        self.file.write(self.compressor.flush())
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        origin, name = self.header.origin, self.name
        ended = Name(name.container, name.ordinal, name.file, name.start, self.end)
        return Place(origin.service, origin.environment, start_of(self.hour), origin.node, ended)


class Segments:
    """The finished segments, at most `most` bytes of them: what has to be dropped is recorded as a gap."""

    def __init__(self, folder: Path, most: int) -> None:
        self.done = folder / "finished"
        self.fresh = folder / "unfinished"
        self.most = most
        self.lock = threading.Lock()
        for each in (self.done, self.fresh):
            each.mkdir(parents=True, exist_ok=True)
        for left in [*self.fresh.iterdir(), *self.done.rglob("*.new")]:
            left.unlink()  # its lines are read again: the cursor counts finished segments only
        self.sizes: dict[Path, int] = {path: _space(path) for path in _oldest_first(self.done)}

    def begin(self, header: Header, name: Name, hour: str) -> OpenSegment:
        """Start a segment; `hour` is that of its first line."""
        return OpenSegment(self.fresh / f"{name.container}.part", header, name, hour)

    def seal(self, segment: OpenSegment, remember: Callable[[int], None]) -> None:
        """Finish a segment. `remember` is told its end before anybody can upload and delete it."""
        place = segment.finish()
        path = self.done / place.path
        path.parent.mkdir(parents=True, exist_ok=True)
        with self.lock:
            segment.path.rename(path)
            sync(path.parent)
            try:
                remember(segment.end)
            except OSError:
                path.unlink()  # or its lines would be in two segments
                raise
            self.sizes[path] = _space(path)
            self._make_room()

    def lost(self, gap: Gap, ordinal: int, hour: str) -> None:
        """Record a gap; it goes to the store as the segments do."""
        with self.lock:
            self._record(gap, ordinal, start_of(hour))

    def finished(self) -> list[Path]:
        """Everything that waits for its upload, oldest first."""
        with self.lock:
            return list(self.sizes)

    def remove(self, path: Path) -> None:
        """It is in the store."""
        with self.lock:
            self.sizes.pop(path, None)
            path.unlink(missing_ok=True)

    def names(self) -> list[Name]:
        """What the finished ones hold."""
        found = (Name.parse(path.name) for path in self.finished())
        return [name for name in found if name is not None and not name.lost]

    def _make_room(self) -> None:
        for path in list(self.sizes):
            if sum(self.sizes.values()) <= self.most:
                return
            place = Place.parse(path.relative_to(self.done).as_posix())
            if place is not None and not place.name.lost:
                self._drop(path, place)

    def _drop(self, path: Path, place: Place) -> None:
        """The gap is on disk before the segment is gone; where both are, the segment counts."""
        origin = _origin(path, place)
        name, folder, start = place.name, path.parent, place.name.start
        for other in folder.glob(f"{name.container}.*-{name.file}.*-{name.start}.gap.json"):
            known = Name.parse(other.name)
            if known is not None:  # one gap instead of many beside one another
                start = known.start
                other.unlink()
                self.sizes.pop(other, None)
        reason = "the node's space for segments was full before they could be uploaded"
        gap = Gap(origin=origin, file=name.file, start=start, end=name.end, reason=reason)
        self._record(gap, name.ordinal, place.hour)
        path.unlink()
        self.sizes.pop(path)

    def _record(self, gap: Gap, ordinal: int, hour: datetime) -> None:
        origin = gap.origin
        name = Name(origin.container, ordinal, gap.file, gap.start, gap.end, lost=True)
        path = self.done / Place(origin.service, origin.environment, hour, origin.node, name).path
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, gap.model_dump_json().encode())
        sync(path.parent)
        self.sizes[path] = _space(path)


def _origin(path: Path, place: Place) -> Origin:
    """As its header says; of a segment that the disk has spoilt, as its name says."""
    try:
        with path.open("rb") as file:
            return read_header(file).origin
    except ValueError:
        return Origin(
            service=place.service,
            environment=place.environment,
            node=place.node,
            container=place.name.container,
        )


def _oldest_first(folder: Path) -> list[Path]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sorted(files, key=lambda path: (path.stat().st_mtime_ns, path.name))


def _space(path: Path) -> int:
    return max(BLOCK, path.stat().st_size)
