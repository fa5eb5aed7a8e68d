"""One exported line: `{"node", "container", "release", "model_version", "line", "stream", "time"}` as JSON.

Only where it is so, a line also says `invalid_utf8` (bytes were replaced), `partial` (its other pieces are
not in this object) or `malformed` (the engine's own record was torn; `line` is the whole of it).
"""

import re
from dataclasses import dataclass, field
from typing import Any

import orjson

from releases.log_segment import Origin

SHORT_ID = 12
LONGEST = 16 << 20  # a line that never ends is cut here

_START = b'{"log":"'
_ENDED = b'\\n","stream":"'  # the text's own quotes are escaped, so this is always the field's end
_CUT = b'","stream":"'  # the same without the line end
_AMBIGUOUS = b'\\\\n","stream":"'  # a backslash and an n at the end of a piece
_REPLACED = b"\\ufffd"  # how the engine writes bytes that are no UTF-8; a real U+FFFD is not escaped
_SHORT_TIME = re.compile(rb'"time":"(.{19}(?:\.\d{1,8})?+)Z"')
_FULL_TIME = len("2026-11-24T01:02:03.123456789")


def full_time(time: str) -> str:
    """Always nine digits after the point: the engine drops trailing zeros, and then strings do not sort."""
    if not time.endswith("Z"):
        return time
    whole, _, fraction = time[:-1].partition(".")
    return f"{whole}.{fraction:0<9}Z"


@dataclass
class _Unfinished:
    """Pieces of a line over 16 KiB, of one stream."""

    texts: list[str] = field(default_factory=list)
    size: int = 0
    time: str = ""
    invalid: bool = False


class Lines:
    """Raw lines of one container in, exported lines out; pieces are joined over blocks and segments."""

    def __init__(self, origin: Origin) -> None:
        self.own = {
            "node": origin.node,
            "container": origin.container[:SHORT_ID],
            "release": origin.release,
            "model_version": origin.model_version,
        }
        self.prefix = orjson.dumps(self.own)[:-1] + b',"line":"'
        self.unfinished: dict[str, _Unfinished] = {}
        self.time = ""
        self.count = 0

    def turn(self, raw: bytes) -> bytes:
        """Export whole raw lines; the last may lack its line end."""
        lines = raw.count(b"\n")
        if not self.unfinished and (text := self._as_a_block(raw, lines)):
            self.count += lines
            return text
        return b"".join(self._one(line) for line in raw.split(b"\n") if line)

    def _as_a_block(self, raw: bytes, lines: int) -> bytes:
        """Without looking into the lines, which is much faster; empty unless each is whole, ended and UTF-8.

        Almost all are. A torn record shows in the counts: its start comes twice in a line, or not at all.
        """
        if not (raw.startswith(_START) and raw.endswith(b'"}\n') and raw.count(b"\n" + _START) == lines - 1):
            return b""
        if _AMBIGUOUS in raw or _REPLACED in raw or b"\0" in raw or not _is_utf8(raw):
            return b""
        begun = raw.replace(_START, self.prefix)
        text = begun.replace(_ENDED, _CUT)
        starts = (len(begun) - len(raw)) // (len(self.prefix) - len(_START))
        ends = (len(begun) - len(text)) // (len(_ENDED) - len(_CUT))
        return _SHORT_TIME.sub(_lengthened, text) if starts == ends == lines else b""

    def end(self) -> bytes:
        """What is left of lines whose end has not come."""
        left = [self._joined(stream, partial=True) for stream in list(self.unfinished)]
        return b"".join(left)

    def _one(self, raw: bytes) -> bytes:
        invalid = _REPLACED in raw
        try:
            record = orjson.loads(raw)
        except orjson.JSONDecodeError:
            text = raw.decode(errors="replace")
            invalid = invalid or "�" in text
            try:
                record = orjson.loads(text)
            except orjson.JSONDecodeError:
                return self._malformed(text, invalid=invalid)
        if not (isinstance(record, dict) and isinstance(record.get("log"), str)):
            return self._malformed(raw.decode(errors="replace"), invalid=invalid)
        return self._take(record, invalid=invalid)

    def _take(self, record: dict[str, Any], *, invalid: bool) -> bytes:
        stream, text = str(record.get("stream", "unknown")), record["log"]
        self.time = full_time(str(record.get("time", "")))
        waiting = self.unfinished.setdefault(stream, _Unfinished(time=self.time))
        waiting.texts.append(text)
        waiting.size += len(text)
        waiting.invalid = waiting.invalid or invalid
        if text.endswith("\n"):
            return self._joined(stream)
        if waiting.size >= LONGEST:
            return self._joined(stream, partial=True)
        return b""

    def _joined(self, stream: str, *, partial: bool = False) -> bytes:
        waiting = self.unfinished.pop(stream)
        text = "".join(waiting.texts).removesuffix("\n")
        flags = {"invalid_utf8": waiting.invalid, "partial": partial}
        return self._write(text, stream, waiting.time, flags)

    def _malformed(self, text: str, *, invalid: bool) -> bytes:
        return self._write(text, "unknown", self.time, {"invalid_utf8": invalid, "malformed": True})

    def _write(self, text: str, stream: str, time: str, flags: dict[str, bool]) -> bytes:
        self.count += 1
        said = {name: True for name, so in flags.items() if so}
        record = {**self.own, "line": text, "stream": stream, "time": time, **said}
        return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)


def _is_utf8(raw: bytes) -> bool:
    if raw.isascii():
        return True
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _lengthened(match: re.Match[bytes]) -> bytes:
    time = match[1] if b"." in match[1] else match[1] + b"."
    return b'"time":"' + time.ljust(_FULL_TIME, b"0") + b'Z"'
