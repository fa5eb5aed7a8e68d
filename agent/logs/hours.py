"""The hour of a raw log line, without parsing it: `2026-11-24T01`, or empty where it has no time."""

from datetime import UTC, datetime

_TIME = b'"time":"'
_FROM_END = 400
_LENGTH = 13


def hour_of(line: bytes) -> str:
    """The time is a line's last field, written by the engine."""
    at = line.rfind(_TIME, max(0, len(line) - _FROM_END))
    if at < 0:
        return ""
    text = line[at + len(_TIME) : at + len(_TIME) + _LENGTH].decode("ascii", errors="replace")
    return text if _is_hour(text) else ""


def this_hour() -> str:
    """For lines without a time."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H}"


def start_of(hour: str) -> datetime:
    """The hour's first moment."""
    return datetime.fromisoformat(f"{hour}:00:00").replace(tzinfo=UTC)


def last_line(lines: bytes) -> bytes:
    """The last of whole lines."""
    return lines[lines.rfind(b"\n", 0, len(lines) - 1) + 1 :]


def first_line(lines: bytes) -> bytes:
    """The first of whole lines."""
    return lines[: lines.find(b"\n") + 1] or lines


def cut(lines: bytes, hour: str) -> int:
    """Where a segment of this hour must end: 0 before all of the lines, their length after all.

    Forward the cut is exact. Lines that are late by a moment (stdout and stderr overtake each other) stay
    where they are; a clock set back shows in whole blocks, and its lines begin a segment of their own.
    """
    last = hour_of(last_line(lines)) or hour
    if last == hour:
        return len(lines)
    if last < hour:
        return 0 if (hour_of(first_line(lines)) or hour) < hour else len(lines)
    at = 0
    while at < len(lines):
        end = lines.find(b"\n", at) + 1 or len(lines)
        if hour_of(lines[at:end]) > hour:
            return at
        at = end
    return len(lines)


def _is_hour(text: str) -> bool:
    try:
        start_of(text)
    except ValueError:
        return False
    return True
