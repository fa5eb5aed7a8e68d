"""Follows one container's log files through rotation and removal, into segments."""

import time
from dataclasses import dataclass, field
from pathlib import Path

from agent.logs.cursor import Cursor, Cursors, FileCursor
from agent.logs.hours import cut, first_line, hour_of, this_hour
from agent.logs.log_file import LogFile
from agent.logs.segment import OpenSegment, Segments
from releases.log_segment import Gap, Header, Name

CHUNK = 1 << 20
TURN = 16  # chunks that one container may read before it is the next one's turn
SCANS = 20


@dataclass(frozen=True)
class Limits:
    """When a segment is finished."""

    raw_bytes: int = 16 << 20
    seconds: float = 60.0


@dataclass
class Unread:
    """A file that has not been read to its end."""

    file: LogFile
    gap_before: str = ""  # why lines between the file before and this one may be lost


@dataclass
class Follower:
    """One container. `poll` again and again; files stay open until nothing more can come."""

    folder: Path
    cursor: Cursor
    cursors: Cursors
    segments: Segments
    limits: Limits = field(default_factory=Limits)
    held: dict[tuple[int, int], LogFile] = field(default_factory=dict)
    unread: list[Unread] = field(default_factory=list)
    last: LogFile | None = None
    open: OpenSegment | None = None

    def poll(self) -> bool:
        """Read what is new; True if there may be more at once."""
        self._discover()
        for _ in range(TURN):
            if not self._step():
                self._seal_if_due()
                return False
        return True

    def drain(self) -> None:
        """Read everything there is and finish the segment: the container has stopped and is to be removed."""
        while self.poll():
            pass
        self._seal()

    @property
    def gone(self) -> bool:
        """Whether the container was removed and everything of it is in segments."""
        return not self.unread and self.open is None and not self.folder.exists()

    def close(self) -> None:
        """Let go of the files; what is in no finished segment is read again by the next follower."""
        for file in self.held.values():
            file.close()
        self.held.clear()
        if self.open is not None:
            self.open.file.close()

    def _discover(self) -> None:
        found = self._scan()
        new = [file for file in reversed(found) if file.inode not in self.held]
        missing = self._missing(found)
        for file in new:
            self.held[file.inode] = file
            known = self.cursor.files.get(self._name(file, final=file is not found[0]))
            if known is not None and (known.done or known.size is not None):
                continue
            self.unread.append(Unread(file, "" if known else missing))
            missing = "" if known is None else missing
        if found:
            self.last = found[0]
        elif missing and self.last is None:
            self._removed_unseen()
        for inode in [one for one, file in self.held.items() if file.removed]:
            if not any(waiting.file.inode == inode for waiting in self.unread):
                self.held.pop(inode).close()

    def _missing(self, found: list[LogFile]) -> str:
        """Why files may have come and gone unseen since the last look; empty where none can have."""
        if self.last is not None:
            seen = any(file.inode == self.last.inode for file in found)
            return "" if seen else "the engine rotated faster than its log files were read"
        newest = self.cursor.newest()
        if not newest:
            full = 1 < self.cursor.origin.log_files <= len(found)
            return "the engine may have removed log files before the agent first saw them" if full else ""
        if any(self._name(file) == newest for file in found):
            return ""
        return "the engine removed log files while the agent was not running"

    def _scan(self) -> list[LogFile]:
        """Every log file that has a name, newest first; looked at again if rotated meanwhile."""
        found: list[LogFile] = []
        for scan in range(SCANS):
            found = []
            for path in self._paths():
                file = self._opened(path)
                if file is not None and all(file.inode != other.inode for other in found):
                    found.append(file)
            if not found or self._is_newest(found[0]) or scan == SCANS - 1:
                break
            for file in found:
                if file.inode not in self.held:
                    file.close()
        return found

    def _paths(self) -> list[Path]:
        """Newest first: a rotation meanwhile then shows a file twice rather than never."""
        base = self.folder / f"{self.cursor.origin.container}-json.log"
        try:
            numbers = [path.suffix[1:] for path in self.folder.iterdir() if path.stem == base.name]
        except OSError:
            return []
        highest = max((int(number) for number in numbers if number.isdigit()), default=0)
        return [base, *(base.with_name(f"{base.name}.{number}") for number in range(1, highest + 2))]

    def _opened(self, path: Path) -> LogFile | None:
        try:
            file = LogFile(path)
        except OSError:
            return None
        held = self.held.get(file.inode)
        if held is not None:
            file.close()
        return held or file

    def _is_newest(self, file: LogFile) -> bool:
        base = self._paths()[:1]
        try:
            stat = base[0].stat() if base else None
        except OSError:
            return False
        return stat is None or (stat.st_dev, stat.st_ino) == file.inode

    def _step(self) -> bool:
        """Read one chunk of the oldest unread file; False if there is nothing to do now."""
        if not self.unread:
            return False
        waiting = self.unread[0]
        file = waiting.file
        final = len(self.unread) > 1 or file.removed  # asked before reading: then the end read is the end
        name = self._name(file, final=final)
        if not name:
            if final:
                self.unread.pop(0)
            return final
        known = self.cursor.files.get(name) or self._first_look(waiting, name)
        position = self.open.end if self.open else known.offset
        if not file.is_same():
            return self._cut_to_nothing(waiting, known, name, position)
        lines = file.read(position, CHUNK, final=final)
        if lines:
            self._add(lines, name, known)
        elif final:
            self._end(known, position)
        return bool(lines) or final

    def _name(self, file: LogFile, *, final: bool = False) -> str:
        """What it is called in the cursor and in segments; empty while that is not known."""
        name = file.identify(final=final)
        former = file.former_name
        if not former or not self.cursor.knows_as(former, name):
            return name
        known = self.cursor.files[former]
        if not known.whole:
            known.whole = name
            self.cursors.save(self.cursor)
        return former

    def _first_look(self, waiting: Unread, name: str) -> FileCursor:
        before = self.cursor.newest()
        known = self.cursor.add(name)
        if waiting.gap_before:
            self._record_gap(before or name, waiting.gap_before, waiting.file)
        self.cursors.save(self.cursor)  # now: the next agent must miss it, should it be gone by then
        return known

    def _record_gap(self, after: str, reason: str, following: LogFile | None) -> None:
        last = self.cursor.files[after]
        start = last.offset if last.size is None else last.size
        lines = following.read(0, CHUNK) if following else b""
        line = first_line(lines)
        at = line.rfind(b'"time":"')
        before = line[at + 8 :].split(b'"')[0].decode("ascii", errors="replace") if at >= 0 else ""
        gap = Gap(origin=self.cursor.origin, file=after, start=start, reason=reason, before=before)
        self.segments.lost(gap, last.ordinal, hour_of(line) or this_hour())

    def _add(self, lines: bytes, name: str, known: FileCursor) -> None:
        while lines:
            if self.open is None:
                self.open = self._begin(lines, name, known)
            end = cut(lines, self.open.hour)
            if end:
                self.open.add(lines[:end])
            lines = lines[end:]
            if lines or self.open.size >= self.limits.raw_bytes:
                self._seal()

    def _begin(self, lines: bytes, name: str, known: FileCursor) -> OpenSegment:
        header = Header(
            origin=self.cursor.origin,
            previous_file=known.previous_file,
            previous_size=known.previous_size,
        )
        range_ = Name(self.cursor.origin.container, known.ordinal, name, known.offset, None)
        return self.segments.begin(header, range_, hour_of(first_line(lines)) or this_hour())

    def _end(self, known: FileCursor, position: int) -> None:
        """Nothing more can come from the oldest unread file."""
        known.size = position
        if self.open is None:
            self.cursors.save(self.cursor)
        self._seal()
        self.unread.pop(0)

    def _cut_to_nothing(self, waiting: Unread, known: FileCursor, name: str, position: int) -> bool:
        """With a single file the engine cuts it instead of rotating: the same file begins anew."""
        self._end(known, position)
        waiting.file.begin_anew()
        reason = "the engine keeps one log file only and cut it (run.logs.max_file: 1)"
        self.unread.insert(0, Unread(waiting.file, reason))
        return self._name(waiting.file) not in ("", name)

    def _removed_unseen(self) -> None:
        newest = self.cursor.newest()
        if newest and self.cursor.files[newest].size is None and not self.folder.exists():
            self.cursor.files[newest].size = self.cursor.files[newest].offset
            reason = "the container was removed while the agent was not running"
            self._record_gap(newest, reason, None)
            self.cursors.save(self.cursor)

    def _seal_if_due(self) -> None:
        if self.open is not None and time.monotonic() - self.open.since >= self.limits.seconds:
            self._seal()

    def _seal(self) -> None:
        if self.open is None:
            return
        segment, self.open = self.open, None
        known = self.cursor.files[segment.name.file]

        def remember(end: int) -> None:
            known.offset = end
            self.cursors.save(self.cursor)

        self.segments.seal(segment, remember)
