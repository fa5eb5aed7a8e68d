"""A raw line becomes an exported one; the fast way over whole blocks says what the slow way says."""

import json
from itertools import chain
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bench.json_file import line
from releases.log_line import Lines, full_time
from releases.log_segment import Origin

ORIGIN = Origin(service="iris", environment="local", node="n1", container="a" * 64, release=3)
TEMPTING = [  # what the fast way looks for, as text of a line
    '{"log":"',
    '\n","stream":"stdout","time":"',
    '\\n","stream":"stderr","time":"',
    '"time":"2026-11-24T01:02:03.5Z"}\n',
    'Z"}',
    "\\n",
    "\\",
    "\ufffd",
    "\r\n",
    "<&>",
    "\u2028\0\x07ü€\U0001f600",
]
texts = st.lists(st.sampled_from(TEMPTING) | st.text(max_size=5), max_size=4).map("".join)
fractions = st.one_of(
    st.just(""), st.integers(1, 11).flatmap(lambda size: st.from_regex(rf"\.[0-9]{{{size}}}", fullmatch=True))
)
times = st.builds("2026-11-24T01:02:03{}Z".format, fractions)
odd_times = st.sampled_from(
    ["2026-11-24T01:02:03.5+01:00", "", "Z", ".Z", "5.1.12Z", "1.2.123456789Z", "x.12345678+0"]
)
NO_RECORDS = [
    b"",
    b"\r",
    b"[1]",
    b'{"log":"torn 3.14159265358{"log":"x\\n","stream":"stdout","time":"2026-11-24T01:02:03.123456789Z"}\n[1]',
    b'{"log":"}',
    b"\0\0",
    b'{"log":1}',
    b'{"log":"a\0b\\n","stream":"stdout","time":"2026-11-24T01:02:03.123456789Z"}',
    b'{"log":"torn',
    b'{"log":"a\xffb\\n","stream":"stdout","time":"2026-11-24T01:02:03.1Z"}',
    b'{"log":"a\\ufffdb\\n","stream":"stdout","time":"2026-11-24T01:02:03.1Z"}',
    b'{"log":"a\\n","stream":"stdout","time":"20{"log":"b\\n","stream":"stdout","time":"2026-11-24T01:02:03Z"}',
    b'{"log":"x\\n","stream":"stdout","attrs":{"tag":"t"},"time":"2026-11-24T01:02:03.123456789Z"}',
    b'me":"2026-11-24T01:02:03.123456789Z"}',
]


def _record(text: str, stream: str, time: str) -> bytes:
    raw = json.dumps({"log": text, "stream": stream, "time": time}, separators=(",", ":"), ensure_ascii=False)
    return raw.replace("<", "\\u003c").replace("\u2028", "\\u2028").encode()  # as the engine does


streams = st.sampled_from(["stdout", "stdout", "stderr"])
plain = st.builds(_record, texts.map("{}\n".format), streams, times)
odd = st.builds(_record, texts | st.just("\\n"), streams, times | odd_times) | st.sampled_from(NO_RECORDS)
few = st.lists(plain, max_size=3)
blocks = st.lists(
    st.builds(lambda *parts: list(chain(*parts)), few, st.lists(odd, max_size=1), few), max_size=3
)


def turned(*raw: bytes) -> list[dict[str, Any]]:
    made = Lines(ORIGIN)
    return [
        orjson.loads(each) for each in (b"".join(made.turn(block) for block in raw) + made.end()).splitlines()
    ]


def test_pieces_of_a_long_line_are_joined_per_stream_and_over_blocks() -> None:
    found = turned(
        line("a" * 16384) + line("other\n", stream="stderr"),
        line("b" * 16384),
        line("c\\n") + line("end\n") + line("next\n"),
    )
    assert [each["line"] for each in found] == ["other", "a" * 16384 + "b" * 16384 + "c\\nend", "next"]
    assert not any("partial" in each for each in found)


def test_a_line_of_a_megabyte_is_one_line() -> None:
    text = "ü" * (1 << 20)
    pieces = [line(text[at : at + 16384]) for at in range(0, len(text), 16384)]
    (found,) = turned(*pieces, line("\n"))
    assert found["line"] == text


def test_a_line_without_its_end_is_kept_and_said_to_be_partial() -> None:
    whole = line("no end\n")
    (found,) = turned(whole.replace(b"\\n", b""))
    assert found == {**turned(whole)[0], "partial": True}


def test_invalid_utf8_is_replaced_and_said() -> None:
    (raw,) = turned(b'{"log":"a\xffb\\n","stream":"stdout","time":"2026-11-24T01:02:03Z"}\n')
    (engines,) = turned(b'{"log":"a\\ufffdb\\n","stream":"stdout","time":"2026-11-24T01:02:03.5Z"}\n')
    (own,) = turned(line("a\ufffdb\n"))
    assert raw["line"] == engines["line"] == own["line"] == "a\ufffdb"
    assert raw["invalid_utf8"] is engines["invalid_utf8"] is True
    assert "invalid_utf8" not in own
    assert raw["time"] == "2026-11-24T01:02:03.000000000Z"


@pytest.mark.parametrize(
    "torn", [b'{"log":"abc', b'{"log":"abc\\n","stream":"std', b"\0\0\0", b"[1]\n", b'{"log":1}\n']
)
def test_a_torn_record_is_kept_whole_and_said(torn: bytes) -> None:
    found = turned(line("before\n") + torn + line("after\n"))
    assert found[0]["line"] == "before"
    assert found[1]["malformed"] is True
    assert torn.rstrip(b"\n").decode() in found[1]["line"]
    assert found[1]["time"] == found[0]["time"]


def test_times_sort_as_text() -> None:
    assert full_time("2026-11-24T01:02:03Z") == "2026-11-24T01:02:03.000000000Z"
    assert full_time("2026-11-24T01:02:03.12Z") == "2026-11-24T01:02:03.120000000Z"


TWO_THAT_MAKE_UP_FOR_EACH_OTHER = [  # one line more and one less
    b'{"log":"a\\n","stream":"stdout","time":"2026-11-24T01:02:03.1234567Z"}',
    b"\r",
    b'{"log":"b\\n","stream":"stdout","time":"2026-11-24T01:02:03.1234567890Z"}',
]


@settings(max_examples=400)
@example([TWO_THAT_MAKE_UP_FOR_EACH_OTHER], False)
@given(blocks, st.booleans())
def test_the_fast_way_and_the_slow_way_say_the_same(blocks: list[list[bytes]], whole: bool) -> None:
    raw = [b"".join(one + b"\n" for one in block) for block in blocks]
    if raw and not whole:
        raw[-1] = raw[-1].removesuffix(b"\n")
    fast, slow = Lines(ORIGIN), Lines(ORIGIN)
    quick = b"".join(map(fast.turn, raw)) + fast.end()
    exact = b"".join(slow._one(one) for block in raw for one in block.split(b"\n") if one) + slow.end()
    assert [orjson.loads(each) for each in quick.splitlines()] == [
        orjson.loads(each) for each in exact.splitlines()
    ]
    assert fast.count == slow.count == quick.count(b"\n")


def test_ordinary_lines_take_the_fast_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lines, "_one", None)
    nanoseconds = [0, 5, 500_000_000, 123_456_780, 123_456_789]
    found = turned(
        b"".join(line(f'ü "{at}"\n', "stdout", nanoseconds=at) + line("\n", "stderr") for at in nanoseconds)
    )
    assert [each["line"] for each in found[::2]] == [f'ü "{at}"' for at in nanoseconds]
    assert [each["time"][-11:] for each in found[::2]] == [f".{at:09d}Z" for at in nanoseconds]


def test_a_torn_record_has_the_time_of_the_line_before_it_in_the_block_before() -> None:
    before, torn = turned(line("before\n", nanoseconds=5), b"[1]\n")
    assert torn["time"] == before["time"]
