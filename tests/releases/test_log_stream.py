"""Stored and live lines become one stream: each line once, in time order."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from releases.log_stream import OVERLAP, Line, Tail, in_order, parse_since
from releases.problem import BadInput

START = datetime(2026, 11, 24, 10, tzinfo=UTC)


def line(milliseconds: int, text: str = "", stream: str = "stdout") -> Line:
    at = START + timedelta(milliseconds=milliseconds)
    return Line(f"{at:%Y-%m-%dT%H:%M:%S.%f}000Z", "c" * 12, stream, text)


# Times go up but for a jitter of less than the overlap; the same line may come twice.
written = st.lists(
    st.tuples(st.integers(0, 3000), st.sampled_from("ab"), st.sampled_from(["stdout", "stderr"])), max_size=60
).map(
    lambda found: [line(100 * at + jitter, text, stream) for at, (jitter, text, stream) in enumerate(found)]
)


@given(written, st.integers(0, 60), st.integers(0, 60))
def test_live_lines_go_on_where_the_stored_ones_end(lines: list[Line], cut: int, kept: int) -> None:
    stored, tail = lines[:cut], Tail()
    for one in stored:
        tail.add(one)
    begins = tail.begins
    still_there = lines[min(kept, cut) :]  # what the engine has not rotated away
    live = [one for one in still_there if begins is None or one.moment >= begins]
    assert list(tail.only_new(live)) == lines[cut:]


@given(st.lists(st.lists(st.integers(0, 10_000)), max_size=5))
def test_streams_are_merged_by_time_and_each_keeps_its_order(times: list[list[int]]) -> None:
    streams = [[line(at, f"{number}") for at in found] for number, found in enumerate(times)]
    merged = list(in_order(streams))
    for number, stream in enumerate(streams):
        assert [one for one in merged if one.text == f"{number}"] == stream
    if all(found == sorted(found) for found in times):
        assert all(before.time <= after.time for before, after in pairwise(merged))


def test_since() -> None:
    assert parse_since("2h", START) == START - timedelta(hours=2)
    assert parse_since("1d", START) == START - timedelta(days=1)
    assert parse_since("2026-11-24T09:30", START) == START - timedelta(minutes=30)
    assert parse_since("2026-11-24T11:30+02:00", START).isoformat() == "2026-11-24T09:30:00+00:00"
    assert parse_since("1900-01-01", START).timestamp() > 0  # what the engine takes
    for wrong in ("yesterday", "9999999d", "99999999999d"):
        with pytest.raises(BadInput, match="this is no time"):
            parse_since(wrong, START)
    assert timedelta(milliseconds=3000) < OVERLAP
