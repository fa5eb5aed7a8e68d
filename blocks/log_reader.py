"""What a service has printed: exported parts, segments that wait for the export, and live containers."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from docker.errors import DockerException
from urllib3.exceptions import HTTPError

from blocks.log_export import ContainerExport, Merge, waiting
from blocks.log_part import part_lines
from releases.log_export import PARTS, Part, Record
from releases.log_line import SHORT_ID, full_time
from releases.log_stream import Line, Tail, in_order
from releases.problem import Unreachable
from releases.store import NotFound, Store

if TYPE_CHECKING:
    from releases.log_segment import Place

# Reading a container's log ends so when the engine refuses, does not answer, or the answer breaks off.
NO_ANSWER = (DockerException, OSError, HTTPError)
ATTEMPTS = 20
MOST_DAYS = 10  # that are listed one by one


@dataclass(frozen=True)
class Piece:
    """An hour's lines of one container: an exported part, or what will be one."""

    hour: str
    key: str
    file: Path | None = None


class LogHistory:
    """A service's stored lines. What waits for the export is fetched at once: the export may take it away."""

    def __init__(self, store: Store, service: str, environment: str, scratch: Path) -> None:
        self.store = store
        self.service = service
        self.environment = environment
        self.scratch = scratch
        self.prefix = f"{PARTS}service={service}/environment={environment}/"
        self.pieces: list[Piece] = []

    def look(self, since: datetime) -> None:
        """See what there is. Raises Unreachable where it changes all the time."""
        for attempt in range(ATTEMPTS):
            folder = self.scratch / str(attempt)
            found = [(one, places) for (_, one), places in self._segments()]
            records = {one: self._export(one).load() for one, _ in found}
            parts = set(self._parts(since))
            try:
                fetched = list(self._waiting(found, records, parts, folder, _hour(since)))
            except NotFound:
                continue
            if all(self._export(one).load()[1] == records[one][1] for one, _ in found):
                there = (key for key in sorted(parts) if self._hour(key) >= _hour(since))
                self.pieces = [*(Piece(self._hour(key), key) for key in there), *fetched]
                return
        raise Unreachable("the export is moving lines all the time", next_step="the same again in a minute")

    def lines(self, since: datetime) -> Iterator[Line]:
        """In time order, each once."""
        first = f"{since:%Y-%m-%dT%H:%M:%S}"
        for hour in sorted({piece.hour for piece in self.pieces}):
            streams = [self._read(piece) for piece in self.pieces if piece.hour == hour]
            yield from (line for line in in_order(streams) if line.time >= first)

    def tail(self, container: str) -> Tail:
        """The last stored lines of a container."""
        tail = Tail()
        for hour in sorted({piece.hour for piece in self.pieces}, reverse=True):
            for piece in [piece for piece in self.pieces if piece.hour == hour]:
                for line in self._read(piece):
                    if line.container != container[:SHORT_ID]:
                        break  # a part is of one container
                    tail.add(line)
            if tail.newest:
                break
        return tail

    def _segments(self) -> "Iterable[tuple[tuple[str, str], list[Place]]]":
        return waiting(self.store, self.environment, self.service).items()

    def _export(self, container: str) -> ContainerExport:
        """Only what has segments can be moved meanwhile: its checkpoint's generation tells."""
        return ContainerExport(self.store, self.service, self.environment, container)

    def _parts(self, since: datetime) -> Iterator[str]:
        """The days' that are asked for, where they are few; a clock may have been a day ahead."""
        days = (datetime.now(UTC) - since).days + 3
        if days > MOST_DAYS:
            yield from self.store.list(self.prefix)
            return
        for number in range(days):
            yield from self.store.list(f"{self.prefix}date={since + timedelta(days=number):%Y-%m-%d}/")

    def _waiting(
        self,
        found: "list[tuple[str, list[Place]]]",
        records: dict[str, tuple[Record, int]],
        there: set[str],
        folder: Path,
        since: str,
    ) -> Iterator[Piece]:
        """What the next export will make of the segments that are there, made here."""
        for container, places in found:
            record, _ = records[container]
            parts = [part for part in record.open if part.key not in there]
            for hour in sorted({place.hour for place in places}):
                due: list[Place] = [place for place in places if place.hour == hour and not place.name.lost]
                part = record.decide(hour, due)
                parts += [part] if part else []
            for part in parts:
                if self._hour(part.key) >= since:
                    yield self._made(part, folder / str(len(list(folder.glob("*")))))

    def _made(self, part: Part, folder: Path) -> Piece:
        folder.mkdir(parents=True)
        merge = Merge(self.store, part, folder)
        merge.run()
        return Piece(self._hour(part.key), part.key, merge.file)

    def _read(self, piece: Piece) -> Iterator[Line]:
        file = piece.file
        if file is None:
            file = self.scratch / piece.key.rsplit("/", 1)[1]
            self.store.download(piece.key, file)
        for raw in part_lines(file):
            yield Line.of(orjson.loads(raw))

    def _hour(self, key: str) -> str:
        """`date=…/hour=…`, which sorts."""
        return key.removeprefix(self.prefix).rpartition("/")[0]


def live_lines(container: Any, since: datetime, release: int) -> Iterator[Line]:
    """What the engine still has of a container's lines, pieces joined. Raises Unreachable."""
    return in_order([_one_stream(container, name, since, release) for name in ("stdout", "stderr")])


def last_lines(container: Any, release: int, number: int) -> Iterator[Line]:
    """The last that the engine still has, in the order they were printed. Raises Unreachable."""
    with _readable(container):
        frames = container.logs(stream=True, follow=False, timestamps=True, tail=number)
        yield from _lines_of(frames, container, "", release)


def following_lines(
    container: Any, since: datetime, release: int, printed: Collection[tuple[str, str]]
) -> Iterator[Line]:
    """What the container prints from now on, as it comes; `printed`: times and texts that were shown."""
    frames = container.logs(stream=True, follow=True, timestamps=True, since=int(since.timestamp()))
    for line in _lines_of(frames, container, "", release):
        if (line.time, line.text) not in printed:
            yield line


def _one_stream(container: Any, stream: str, since: datetime, release: int) -> Iterator[Line]:
    wanted = {name: name == stream for name in ("stdout", "stderr")}
    with _readable(container):
        frames = container.logs(
            stream=True, follow=False, timestamps=True, since=int(since.timestamp()), **wanted
        )
        yield from _lines_of(frames, container, stream, release)


@contextmanager
def _readable(container: Any) -> Iterator[None]:
    try:
        yield
    except NO_ANSWER as error:  # a release may have just removed it
        raise Unreachable(
            f"the log of container {container.id[:SHORT_ID]} cannot be read",
            got=str(error)[:200],
            next_step="the same again",
        ) from error


def _lines_of(frames: Iterable[bytes], container: Any, stream: str, release: int) -> Iterator[Line]:
    time, text = "", ""
    for frame in frames:
        begun, _, piece = frame.decode(errors="replace").partition(" ")
        time, text = time or full_time(begun), text + piece
        if text.endswith("\n"):
            yield Line(time, container.id[:SHORT_ID], stream, text.removesuffix("\n"), release)
            time, text = "", ""
    if time:
        yield Line(time, container.id[:SHORT_ID], stream, text, release)


def _hour(moment: datetime) -> str:
    return f"date={moment:%Y-%m-%d}/hour={moment:%H}"
