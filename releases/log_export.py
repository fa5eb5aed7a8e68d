"""Which bytes of a container's log files are exported, which are next, and which are missing."""

import hashlib
from collections.abc import Iterable
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from releases.log_segment import Gap, Header, Name, Place, partition

EXPORTS = "logs/exports/"
PARTS = "logs/"
KEPT_FILES = 500
Range = tuple[int, int]


def part_key(folder: str, words: Iterable[str]) -> str:
    """A part's name says what it is made of: made a second time it is the same object."""
    name = hashlib.sha256("\n".join(words).encode()).hexdigest()[:20]
    return f"{PARTS}{folder}/part-{name}.jsonl.zst"


class FileRecord(BaseModel):
    """One log file."""

    model_config = ConfigDict(extra="ignore")

    ordinal: int
    ranges: list[Range] = Field(default_factory=list, description="Exported, sorted, apart from one another.")
    size: int | None = Field(None, description="How long it was in the end, as the next file says.")


class Take(BaseModel):
    """Some bytes of a segment."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    key: str
    ranges: tuple[Range, ...]


class Part(BaseModel):
    """One object of exported lines: decided before it is made, so that a second try makes the same."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    key: str
    takes: tuple[Take, ...]


class Hole(BaseModel):
    """Bytes that are in no part and in no segment that waits. `end` None: not known how many."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    container: str
    file: str
    start: int
    end: int | None
    reason: str
    before: str = ""


class Record(BaseModel):
    """A container's checkpoint. A part stands in `open` from its decision until its segments are gone."""

    model_config = ConfigDict(extra="ignore")

    format: int = 1
    container: str
    files: dict[str, FileRecord] = Field(default_factory=dict)
    open: list[Part] = Field(default_factory=list)
    gaps: list[Gap] = Field(default_factory=list, description="What the agent says is lost.")
    told: list[Hole] = Field(default_factory=list, description="Reported before.")

    def decide(self, hour: datetime, places: list[Place]) -> Part | None:
        """Take what these segments hold and no part has; None where that is nothing."""
        takes = []
        for place in sorted(places, key=lambda one: (one.name.ordinal, one.name.start, one.name.end or 0)):
            name = place.name
            file = self.files.setdefault(name.file, FileRecord(ordinal=name.ordinal))
            new = missing(file.ranges, (name.start, name.end or 0))
            if new:
                takes.append(Take(key=place.key, ranges=tuple(new)))
                file.ranges = joined([*file.ranges, *new])
        if not takes:
            return None
        words = [self.container, *(f"{take.key.rsplit('/', 1)[1]} {take.ranges}" for take in takes)]
        folder = partition(places[0].service, places[0].environment, hour)
        part = Part(key=part_key(folder, words), takes=tuple(takes))
        self.open.append(part)
        return part

    def learn(self, header: Header, name: Name) -> None:
        """How long the file before this one was in the end."""
        if header.previous_size:
            made = FileRecord(ordinal=max(0, name.ordinal - 1))
            self.files.setdefault(header.previous_file, made).size = header.previous_size

    def learn_gap(self, gap: Gap, name: Name) -> bool:
        """What the agent says is lost; False if that was known."""
        self.files.setdefault(gap.file, FileRecord(ordinal=name.ordinal))
        new = gap not in self.gaps
        if new:
            self.gaps.append(gap)
        return new

    def holes(self, waiting: list[Place]) -> list[Hole]:
        """Everything missing. The end of a file that is still written is none."""
        found = []
        for file, record in sorted(self.files.items(), key=lambda item: item[1].ordinal):
            soon = [(one.name.start, one.name.end or 0) for one in waiting if one.name.file == file]
            there = joined([*record.ranges, *soon])
            ends = [to for _, to in there] + [gap.end or 0 for gap in self.gaps if gap.file == file]
            end = max([record.size or 0, *ends])
            for start, to in missing(there, (0, end)):
                found.append(
                    Hole(
                        container=self.container,
                        file=file,
                        start=start,
                        end=to,
                        reason=self._why(file, start, to),
                    )
                )
        found.extend(
            Hole(
                container=self.container,
                file=gap.file,
                start=gap.start,
                end=None,
                reason=gap.reason,
                before=gap.before,
            )
            for gap in self.gaps
            if gap.end is None
        )
        return found

    def forget_old(self) -> bool:
        """Keep the checkpoint small: only files that are still on the node could come again."""
        old = sorted(self.files, key=lambda file: self.files[file].ordinal)[:-KEPT_FILES]
        for file in old:
            del self.files[file]
        self.gaps = self.gaps[-KEPT_FILES:]
        return bool(old)

    def _why(self, file: str, start: int, end: int) -> str:
        for gap in self.gaps:
            if gap.file == file and gap.start < end and (gap.end is None or gap.end > start):
                return gap.reason
        return "no segment holds these bytes"


def missing(ranges: list[Range], wanted: Range) -> list[Range]:
    """The parts of `wanted` that no range covers; `ranges` are sorted and apart."""
    at, end = wanted
    holes = []
    for start, to in ranges:
        if to <= at:
            continue
        if start >= end:
            break
        if start > at:
            holes.append((at, start))
        at = to
    if at < end:
        holes.append((at, end))
    return holes


def joined(ranges: list[Range]) -> list[Range]:
    """Sorted, and ranges that touch are one."""
    found: list[Range] = []
    for start, end in sorted(ranges):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found
