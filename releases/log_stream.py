"""Lines of many containers as one stream in time order, each once; plain rules, no I/O."""

import heapq
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from releases.problem import BadInput

OVERLAP = timedelta(seconds=5)  # stdout and stderr may be this far out of order in a container's file
EARLIEST = datetime(1970, 1, 2, tzinfo=UTC)  # docker takes none before 1970
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_AGO = re.compile(r"(\d+)([smhd])")
_SECONDS = len("2026-11-24T01:02:03")


@dataclass(frozen=True)
class Line:
    """One line that a container has printed. `time` has nine digits after the point, so it sorts as text."""

    time: str
    container: str
    stream: str
    text: str
    release: int = 0

    @classmethod
    def of(cls, exported: dict[str, Any]) -> "Line":
        """From an exported line."""
        one = exported
        return cls(one["time"], one["container"], one["stream"], one["line"], one.get("release", 0))

    @property
    def moment(self) -> datetime:
        """The time, to the second."""
        return datetime.fromisoformat(self.time[:_SECONDS]).replace(tzinfo=UTC)


def in_order(streams: Iterable[Iterable[Line]]) -> Iterator[Line]:
    """Merge by time. The lines of one stream keep their order, whatever its clock did."""
    for _, line in heapq.merge(*(_never_back(stream) for stream in streams), key=lambda pair: pair[0]):
        yield line


def _never_back(lines: Iterable[Line]) -> Iterator[tuple[str, Line]]:
    latest = ""
    for line in lines:
        latest = max(latest, line.time)
        yield latest, line


@dataclass
class Tail:
    """The last lines of a container that are in the store: where the live ones go on."""

    newest: str = ""
    lines: deque[Line] = field(default_factory=deque)

    def add(self, line: Line) -> None:
        """The next stored line."""
        self.newest = max(self.newest, line.time)
        self.lines.append(line)
        oldest = self.begins
        while oldest and self.lines and self.lines[0].moment < oldest:
            self.lines.popleft()

    @property
    def begins(self) -> datetime | None:
        """From here on live lines are asked for; None: nothing is stored."""
        if not self.newest:
            return None
        return datetime.fromisoformat(self.newest[:_SECONDS]).replace(tzinfo=UTC) - OVERLAP

    def only_new(self, live: Iterable[Line]) -> Iterator[Line]:
        """Live lines since `begins`, without those that are stored: as often as they are stored."""
        begins = self.begins
        stored = Counter((line.time, line.stream, line.text) for line in self.lines)
        for line in live:
            same = (line.time, line.stream, line.text)
            if stored[same]:
                stored[same] -= 1
            elif begins is None or line.moment >= begins:
                yield line


def parse_since(text: str, now: datetime) -> datetime:
    """`2h`, `30m`, `1d` ago, or a date or time, without a zone in UTC; the moment in UTC. Raises BadInput."""
    ago = _AGO.fullmatch(text)
    try:
        moment = now - timedelta(**{UNITS[ago[2]]: int(ago[1])}) if ago else datetime.fromisoformat(text)
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise BadInput(
            "this is no time", expected="for example 2h, 30m, 1d or 2026-11-24T10:00", got=text
        ) from error
    return max(moment, EARLIEST)
