"""Which bytes of a container's log files are exported, which are next, and which are missing."""

import hashlib
from collections.abc import Iterable
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from releases.log_segment import Gap, Header, Name, Place, partition

EXPORTS = "logs/exports/"
PARTS = "logs/"
GAPS = "logs/gaps/"
UNREADABLE = "logs/unreadable/"
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
        return self._begin(partition(places[0].service, places[0].environment, hour), takes)

    def _begin(self, folder: str, takes: list[Take]) -> Part:
        words = [self.container, *(f"{take.key.rsplit('/', 1)[1]} {take.ranges}" for take in takes)]
        part = Part(key=part_key(folder, words), takes=tuple(takes))
        self.open.append(part)
        return part

    def give_up(self, part: Part, bad: Take, gap: Gap) -> None:
        """One of the part's segments cannot be read: the part is made of the others."""
        file = self.files[gap.file]
        file.ranges = [left for each in file.ranges for left in missing(list(bad.ranges), each)]
        if gap not in self.gaps:
            self.gaps.append(gap)
        self.open.remove(part)
        rest = [take for take in part.takes if take != bad]
        if rest:
            self._begin(part.key.removeprefix(PARTS).rpartition("/")[0], rest)

    def learn(self, header: Header, name: Name) -> bool:
        """How long the file before this one was in the end; False if that was known, or nobody knows it."""
        if not header.previous_size:
            return False
        made = FileRecord(ordinal=max(0, name.ordinal - 1))
        file = self.files.setdefault(header.previous_file, made)
        known, file.size = file.size, header.previous_size
        return known != file.size

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
        found.extend(self._files_never_heard_of(waiting))
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

    def _files_never_heard_of(self, waiting: list[Place]) -> list[Hole]:
        """Of a file that is missing whole nobody may have said which file was before it."""
        known = {record.ordinal for record in self.files.values()} | {one.name.ordinal for one in waiting}
        if len(self.files) >= KEPT_FILES:
            known.add(min(record.ordinal for record in self.files.values()) - 1)  # forgotten, not missing
        there = {gap.file for gap in self.gaps} | {one.name.file for one in waiting}
        return [
            Hole(
                container=self.container,
                file=file,
                start=0,
                end=None,
                reason="no segment came of this file, nor of the one before it: whole files may be missing",
            )
            for file, record in self.files.items()
            if record.ordinal > 0
            and record.ordinal - 1 not in known
            and not record.ranges
            and file not in there
        ]

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
