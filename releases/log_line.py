"""One exported line: `{"node", "container", "release", "model_version", "line", "stream", "time"}` as JSON.

Only where it is so, a line also says `invalid_utf8` (bytes were replaced), `partial` (its other pieces are
not in this object) or `malformed` (the engine's own record was torn; `line` is the whole of it).
"""

from dataclasses import dataclass, field
from typing import Any

import orjson

from releases.log_segment import Origin

SHORT_ID = 12
LONGEST = 16 << 20  # a line that never ends is cut here

_START = b'{"log":"'
_ENDED = tuple(  # the text's own quotes are escaped, so this is always the field's end
    (b'\\n","stream":"%b","time":"' % stream, b'","stream":"%b","time":"' % stream)  # without the line end
    for stream in (b"stdout", b"stderr")
)
_AMBIGUOUS = b'\\\\n","stream":"std'  # a backslash and an n at the end of a piece
_REPLACED = b"\\ufffd"  # how the engine writes bytes that are no UTF-8; a real U+FFFD is not escaped
_END = b'Z"}\n'  # of a record whose time is in UTC
_DOT = ord(".")
_POINT = -len(b".123456789")  # where a line's time has its point if nothing must be added


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
            self.time = text[text.rindex(b'"', 0, -len(_END)) + 1 : -len(b'"}\n')].decode()
            return text
        return b"".join(self._one(line) for line in raw.split(b"\n") if line)

    def _as_a_block(self, raw: bytes, lines: int) -> bytes:
        """Without looking into the texts, which is much faster; empty unless each is whole, ended and UTF-8.

        Almost all are. A torn record shows in the counts of lines, starts and ends of texts: they differ.
        """
        if _AMBIGUOUS in raw or _REPLACED in raw or b"\0" in raw or not _is_utf8(raw):
            return b""
        if not (raw.startswith(_START) and raw.endswith(_END)):
            return b""
        cut = _without_line_ends(raw, lines)
        records = cut[len(_START) : -len(_END)].split(_END + _START)
        if not cut or not len(records) == lines == cut.count(_START):
            return b""
        try:
            return b"".join([self.prefix, (_END + self.prefix).join(_with_full_times(records)), _END])
        except IndexError:
            return b""

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


def _without_line_ends(raw: bytes, lines: int) -> bytes:
    """The texts without them; empty if there are not as many as lines."""
    for ended, cut in _ENDED:
        before, raw = raw, raw.replace(ended, cut)
        lines -= (len(before) - len(raw)) // (len(ended) - len(cut))
        if not lines:
            return raw
    return b""


def _with_full_times(records: list[bytes]) -> list[bytes]:
    """Most have them already. Raises IndexError where a record is torn."""
    return [one if one[_POINT] == _DOT else _lengthened(one) for one in records]


def _lengthened(record: bytes) -> bytes:
    """With what `full_time` adds."""
    point = record.find(b".", record.rfind(b'"'))
    if point < 0:
        point, record = len(record), record + b"."
    return record.ljust(point + len(".123456789"), b"0")
