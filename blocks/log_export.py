"""Segments of a container become parts of exported lines, each line exactly once."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import zstandard
from pydantic import ValidationError

from blocks.log_gaps import note_gaps
from releases.log_export import EXPORTS, UNREADABLE, Hole, Part, Range, Record, Take
from releases.log_line import Lines
from releases.log_segment import SEGMENTS, Gap, Header, Origin, Place, read_header
from releases.problem import Failed
from releases.store import AlreadyExists, Changed, NotFound, Store

# Short matches cost more than they save in lines full of times and numbers, and so do matches from far back:
# a smaller window is faster, and parts are smaller or at most 1 % larger (bench/log_export.py).
PACKING = zstandard.ZstdCompressionParameters.from_level(1, min_match=7, window_log=18, write_checksum=True)
BLOCK = 1 << 16  # stays in the processor's cache: half again as fast as blocks of 1 MiB
ATTEMPTS = 20


@dataclass
class Exported:
    """What one export of a container did."""

    parts: list[str] = field(default_factory=list)
    lines: int = 0
    raw_bytes: int = 0
    stored_bytes: int = 0
    holes: list[Hole] = field(default_factory=list)


def waiting(store: Store, environment: str, service: str = "") -> dict[tuple[str, str], list[Place]]:
    """Segments in the store by service and container."""
    found: dict[tuple[str, str], list[Place]] = {}
    prefix = f"{SEGMENTS}service={service}/" if service else SEGMENTS
    for key in store.list(prefix):
        place = Place.parse(key.removeprefix(SEGMENTS))
        if place is not None and place.environment == environment:
            found.setdefault((place.service, place.name.container), []).append(place)
    return found


@dataclass(frozen=True)
class ContainerExport:
    """One container's segments. Killed anywhere and run again, or twice at once: the same objects."""

    store: Store
    service: str
    environment: str
    container: str

    @property
    def key(self) -> str:
        """The checkpoint's."""
        folder = f"service={self.service}/environment={self.environment}"
        return f"{EXPORTS}{folder}/{self.container}.json"

    def run(self, places: list[Place], until: datetime) -> Exported:
        """Export every hour before `until`. Raises Failed."""
        done = Exported()
        for _ in range(ATTEMPTS):
            try:
                self._run(places, until, done)
            except Changed:
                continue  # another run of the flow, or a lost answer: look what stands there now
            return done
        raise Failed("the export's checkpoint is being changed all the time", where=self.key)

    def _run(self, places: list[Place], until: datetime, done: Exported) -> None:
        record, generation = self.load()
        generation = self._finish_open(record, generation, done)
        due = [place for place in places if place.hour < until]
        for hour in sorted({place.hour for place in due}):
            now = [place for place in due if place.hour == hour]
            segments = [place for place in now if not place.name.lost]
            told = [record.learn_gap(gap, place.name) for gap, place in self._gaps(now)]
            if record.decide(hour, segments) or any(told):
                generation = self._save(record, generation)
            generation = self._finish_open(record, generation, done)
            for place in now:
                self.store.remove(place.key)
        holes = record.holes([place for place in places if place.hour >= until and not place.name.lost])
        new = [hole for hole in holes if hole not in record.told]
        if new:
            note_gaps(self.store, self.service, self.environment, new)
            done.holes += [hole for hole in new if hole not in done.holes]
        if record.forget_old() or new:
            record.told = holes
            self._save(record, generation)

    def _finish_open(self, record: Record, generation: int, done: Exported) -> int:
        """The part is in the store before its segments are gone, and so is what they alone say."""
        while record.open:
            part = record.open[0]
            try:
                headers = self._finish(part, done)
            except UnreadableSegment as error:
                self._set_aside(part, error, record)
                generation = self._save(record, generation)
                self.store.remove(error.take.key)
                continue
            learned = [record.learn(header, place.name) for header, place in headers]
            if any(learned):
                generation = self._save(record, generation)
            for take in part.takes:
                self.store.remove(take.key)
            record.open.remove(part)
            generation = self._save(record, generation)
        return generation

    def _set_aside(self, part: Part, error: "UnreadableSegment", record: Record) -> None:
        """Kept for a person; its lines are a gap, so that the container's other lines are not held up."""
        place = Place.parse(error.take.key.removeprefix(SEGMENTS))
        if place is None:
            raise error
        kept = UNREADABLE + place.path
        with tempfile.TemporaryDirectory(prefix="model-deploy-logs-") as scratch:
            self.store.download(error.take.key, Path(scratch) / "segment")
            self._upload(kept, Path(scratch) / "segment")
        reason = f"its segment cannot be read ({error.got}); mended and put back from {kept} it is exported"
        record.give_up(part, error.take, _gap(place, reason))

    def _finish(self, part: Part, done: Exported) -> list[tuple[Header, Place]]:
        """Have the part in the store; what its segments say of themselves."""
        with tempfile.TemporaryDirectory(prefix="model-deploy-logs-") as scratch:
            merge = Merge(self.store, part, Path(scratch))
            try:
                merge.run()
            except NotFound as error:
                if part.key not in self.store.list(part.key):
                    raise Failed(
                        "a segment is gone and its lines are in no part", where=part.key, got=error.what
                    ) from error
            else:
                self._upload(part.key, merge.file)
                done.parts.append(part.key)
                done.lines += merge.lines
                done.raw_bytes += merge.raw_bytes
                done.stored_bytes += merge.file.stat().st_size
        found = [(header, Place.parse(take.key.removeprefix(SEGMENTS))) for header, take in merge.headers]
        return [(header, place) for header, place in found if place is not None]

    def _upload(self, key: str, file: Path) -> None:
        try:
            self.store.upload(key, file)
        except AlreadyExists:
            return  # the name says which bytes are in it: made by a run before this one

    def _gaps(self, places: list[Place]) -> Iterator[tuple[Gap, Place]]:
        for place in places:
            if place.name.lost:
                try:
                    yield Gap.model_validate_json(self.store.read(place.key)[0]), place
                except NotFound:
                    continue
                except ValidationError:
                    yield _gap(place, "the node's record of why cannot be read"), place

    def load(self) -> tuple[Record, int]:
        """The checkpoint and its generation. Raises Failed."""
        try:
            data, generation = self.store.read(self.key)
            return Record.model_validate_json(data), generation
        except NotFound:
            return Record(container=self.container), 0
        except ValidationError as error:
            raise Failed("the export's checkpoint cannot be read", where=self.key) from error

    def _save(self, record: Record, generation: int) -> int:
        return self.store.replace(self.key, record.model_dump_json().encode(), generation)


class UnreadableSegment(Failed):
    """What a part would take from it is lost, unless a person mends it."""

    def __init__(self, take: Take, got: str) -> None:
        super().__init__("a segment cannot be read", where=take.key, got=got)
        self.take = take


class Merge:
    """Streams a part's segments into one file: memory stays flat, whatever they hold."""

    def __init__(self, store: Store, part: Part, scratch: Path) -> None:
        self.store = store
        self.part = part
        self.scratch = scratch
        self.file = scratch / "part"
        self.lines = 0
        self.raw_bytes = 0
        self.headers: list[tuple[Header, Take]] = []

    def run(self) -> None:
        """Make the file. Raises NotFound, Failed."""
        exported: Lines | None = None
        compressor = zstandard.ZstdCompressor(compression_params=PACKING)
        with self.file.open("wb") as raw, compressor.stream_writer(raw) as out:
            for take in self.part.takes:
                for header, block in self._blocks(take):
                    exported = exported or Lines(header.origin)
                    self.raw_bytes += len(block)
                    out.write(exported.turn(block))
            if exported is not None:
                out.write(exported.end())
                self.lines = exported.count

    def _blocks(self, take: Take) -> Iterator[tuple[Header, bytes]]:
        segment = self.scratch / "segment"
        self.store.download(take.key, segment)
        place = Place.parse(take.key.removeprefix(SEGMENTS))
        try:
            with segment.open("rb") as file:
                header = read_header(file)
                self.headers.append((header, take))
                start = place.name.start if place else 0
                for block in _ranges(file, start, take.ranges):
                    yield header, block
        except (ValueError, zstandard.ZstdError) as error:
            raise UnreadableSegment(take, str(error)[:200]) from error
        segment.unlink()  # before it is written to the disk: replacing a file would wait for that


def _gap(place: Place, reason: str) -> Gap:
    """The bytes that the name says."""
    name = place.name
    origin = Origin(
        service=place.service, environment=place.environment, node=place.node, container=name.container
    )
    return Gap(origin=origin, file=name.file, start=name.start, end=name.end, reason=reason)


def _ranges(file: BinaryIO, position: int, ranges: tuple[Range, ...]) -> Iterator[bytes]:
    """The ranges of a segment that begins at `position`, in blocks of whole lines."""
    reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
    for start, end in ranges:
        while position < start:
            position += len(_some(reader, min(BLOCK, start - position)))
        rest = b""
        while position < end:
            block = _some(reader, min(BLOCK, end - position))
            position += len(block)
            cut = block.rfind(b"\n") + 1
            if cut:
                yield rest + block[:cut]
                rest = block[cut:]
            else:
                rest += block
        if rest:
            yield rest


def _some(reader: zstandard.ZstdDecompressionReader, most: int) -> bytes:
    block = reader.read(most)
    if not block:
        raise ValueError("it is shorter than its name says")
    return block
