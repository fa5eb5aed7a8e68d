"""Every line of the log files is in exactly one segment, whatever the engine does to the files meanwhile."""

import hashlib
import itertools
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.logs.cursor import Cursor
from agent.logs.follow import Limits
from bench.json_file import JsonFile, line
from tests.agent.logs import container, contiguous, follower, gaps, origins, settle, stored, texts

SIZE = 100_000


def test_lines_of_two_containers_end_up_in_segments_of_their_own(tmp_path: Path) -> None:
    files = {letter: JsonFile(tmp_path / "containers", container(letter), SIZE, 5) for letter in "ab"}
    logs = follower(tmp_path, "a", "b")
    logs.look()
    for number in range(3000):
        for letter, file in files.items():
            file.write(line(f"{letter}{number}\n", stream="stderr" if number % 3 else "stdout"))
        if number % 100 == 0:
            logs.poll()
    settle(logs, "a", "b")
    found = stored(tmp_path / "store")
    assert contiguous(found)
    for letter in "ab":
        assert texts(found, letter) == [f"{letter}{number}\n" for number in range(3000)]
    assert not gaps(tmp_path / "store")
    assert not logs.segments.finished()  # uploaded, so deleted here
    assert found[0].header.origin.release == 3


def test_rotation_while_reading_loses_nothing(tmp_path: Path) -> None:
    file = JsonFile(tmp_path / "containers", container("a"), SIZE, 3)
    logs = follower(tmp_path, "a")
    logs.look()
    for number in range(20_000):
        file.write(line(f"{number}\n"))
        if number % 500 == 0:
            logs.poll()
    settle(logs, "a")
    assert file.rotations > 10
    found = stored(tmp_path / "store")
    assert contiguous(found)
    assert texts(found, "a") == [f"{number}\n" for number in range(20_000)]
    assert not gaps(tmp_path / "store")


@pytest.mark.parametrize("max_file", [5, 1])
def test_files_that_begin_with_the_same_long_line_are_not_taken_for_one(
    tmp_path: Path, max_file: int
) -> None:
    file = JsonFile(tmp_path / "containers", container("a"), SIZE, max_file)
    logs = follower(tmp_path, "a")
    logs.look()
    for number in range(60):
        file.write(line(json.dumps({"prompt": "p" * 5000, "n": number}) + "\n", nanoseconds=number + 1))
        logs.poll()
    settle(logs, "a")
    assert file.rotations > 2
    assert [json.loads(text)["n"] for text in texts(stored(tmp_path / "store"), "a")] == [*range(60)]


def test_a_file_under_its_former_name_is_read_on_and_not_again(tmp_path: Path) -> None:
    file = JsonFile(tmp_path / "containers", container("a"), SIZE, 5)
    first = line("p" * 5000 + "\n", nanoseconds=1)
    file.write(first)
    file.write(line("one\n"))
    before = Cursor(origin=origins("a")[container("a")])
    before.add(hashlib.sha256(first[:4096]).hexdigest()[:20]).offset = len(first)
    follower(tmp_path).cursors.save(before)
    settle(follower(tmp_path, "a"), "a")
    file.rotate()
    file.write(line("p" * 5000 + "\n", nanoseconds=2))
    settle(follower(tmp_path, "a"), "a")  # by an agent that was started once more
    assert texts(stored(tmp_path / "store"), "a") == ["one\n", "p" * 5000 + "\n"]
    assert not gaps(tmp_path / "store")


def test_what_was_rotated_away_before_the_first_segment_is_a_gap(tmp_path: Path) -> None:
    file = JsonFile(tmp_path / "containers", container("a"), SIZE, 2)
    file.write(line("first\n"))
    logs = follower(tmp_path, "a")
    logs.look()
    logs.poll()  # killed before its segment is finished
    logs.followers[container("a")].close()
    file.write_all(line(f"{number}\n") for number in range(10_000))
    settle(follower(tmp_path, "a"), "a")
    (gap,) = gaps(tmp_path / "store")
    assert (gap.start, gap.end) == (0, None)
    assert "not running" in gap.reason


def test_a_container_first_seen_with_all_its_files_full_may_have_lost_some(tmp_path: Path) -> None:
    for letter, lines in (("a", 10_000), ("b", 2000)):
        file = JsonFile(tmp_path / "containers", container(letter), SIZE, 3)
        file.write_all(line(f"{number}\n") for number in range(lines))
    logs = follower(tmp_path, "a", "b")
    logs.origins = lambda: origins("a", "b", log_files=3)
    settle(logs, "a", "b")
    (gap,) = gaps(tmp_path / "store")
    assert (gap.origin.container, gap.start, gap.end) == (container("a"), 0, None)
    assert "before the agent first saw" in gap.reason
    first = int(texts(stored(tmp_path / "store"), "a")[0])
    assert texts(stored(tmp_path / "store"), "a") == [f"{number}\n" for number in range(first, 10_000)]


@pytest.mark.fault(27)
def test_rotation_that_outruns_the_reader_is_a_gap_with_its_bounds(tmp_path: Path) -> None:
    file = JsonFile(tmp_path / "containers", container("a"), SIZE, 2)
    logs = follower(tmp_path, "a")
    file.write_all(line(f"{number}\n") for number in range(100))
    settle(logs)
    file.write_all(line(f"{number}\n") for number in range(100, 10_000))
    settle(logs, "a")
    found = stored(tmp_path / "store")
    numbers = [int(text) for text in texts(found, "a")]
    jump = next(index for index in range(len(numbers)) if numbers[index] != index)
    (gap,) = gaps(tmp_path / "store")
    # the file that was open is read to its end, though it has no name any more
    assert gap.start == sum(len(line(f"{number}\n")) for number in range(jump))
    assert gap.end is None
    assert "rotated faster" in gap.reason
    assert numbers[jump:] == list(range(numbers[jump], 10_000))


def test_files_removed_while_the_agent_was_away_are_a_gap(tmp_path: Path) -> None:
    file = JsonFile(tmp_path / "containers", container("a"), SIZE, 2)
    file.write(line("first\n"))
    logs = follower(tmp_path, "a")
    settle(logs, "a")
    for each in logs.followers.values():
        each.close()
    file.write_all(line(f"{number}\n") for number in range(10_000))
    settle(follower(tmp_path, "a"), "a")
    (gap,) = gaps(tmp_path / "store")
    assert (gap.start, gap.end) == (len(line("first\n")), None)
    assert "not running" in gap.reason
    assert gap.before.startswith("20")


def test_a_container_removed_while_reading_is_read_to_its_end(tmp_path: Path) -> None:
    file = JsonFile(tmp_path / "containers", container("a"), 10 * SIZE, 5)
    logs = follower(tmp_path, "a")
    file.write_all(line(f"{number}\n") for number in range(1000))
    logs.look()
    logs.followers[container("a")]._discover()
    file.write_all(line(f"{number}\n") for number in range(1000, 1500))
    file.remove()
    settle(logs)
    assert texts(stored(tmp_path / "store"), "a") == [f"{number}\n" for number in range(1500)]
    assert not logs.followers
    assert not list((tmp_path / "state" / "cursors").iterdir())


def test_a_short_first_line_is_waited_for(tmp_path: Path) -> None:
    file = JsonFile(tmp_path / "containers", container("a"), SIZE, 5)
    whole = line("x\n")
    file.write(whole[:20])
    logs = follower(tmp_path, "a")
    settle(logs, "a")
    assert not stored(tmp_path / "store")
    file.write(whole[20:] + whole[:9])
    settle(logs, "a")
    assert texts(stored(tmp_path / "store"), "a") == ["x\n"]


def test_long_lines_invalid_utf8_and_torn_lines_are_kept_byte_for_byte(tmp_path: Path) -> None:
    file = JsonFile(tmp_path / "containers", container("a"), 10 << 20, 5)
    raw = [
        line("y" * (1 << 20) + "\n"),
        b'{"log":"\xff\xfe\n","stream":"stdout"}\n',
        line("z" * (3 << 20) + "\n"),
    ]
    after = line("after\n")  # once: it has the time of day
    file.write_all(raw)
    file.write(b'{"log":"torn')
    file.rotate()
    file.write(after)
    settle(follower(tmp_path, "a"), "a")
    found = stored(tmp_path / "store")
    assert contiguous(found)
    assert b"".join(one.raw for one in found) == b"".join([*raw, b'{"log":"torn', after])


def test_a_segment_holds_one_hour(tmp_path: Path) -> None:
    file = JsonFile(tmp_path / "containers", container("a"), 10 << 20, 5)
    start = datetime(2026, 11, 24, 10, 59, 0, tzinfo=UTC)
    file.write_all(line(f"{second}\n", at=start + timedelta(seconds=second)) for second in range(7200))
    settle(follower(tmp_path, "a", limits=Limits()), "a")
    found = stored(tmp_path / "store")
    assert contiguous(found)
    assert [(one.place.hour.hour, one.raw.count(b"\n")) for one in found] == [
        (10, 60),
        (11, 3600),
        (12, 3540),
    ]


@pytest.mark.fault(31)
def test_a_clock_set_back_loses_nothing(tmp_path: Path) -> None:
    file = JsonFile(tmp_path / "containers", container("a"), 10 << 20, 5)
    logs = follower(tmp_path, "a", limits=Limits())
    for hour in (10, 9, 11, 1):
        file.write_all(line(f"{hour}\n", at=datetime(2026, 11, 24, hour, tzinfo=UTC)) for _ in range(100))
        logs.look()
        logs.poll()
    settle(logs, "a")
    found = stored(tmp_path / "store")
    assert contiguous(found)
    assert [one.place.hour.hour for one in found] == [10, 9, 11, 1]


def test_with_a_single_file_what_was_cut_away_is_a_gap(tmp_path: Path) -> None:
    file = JsonFile(tmp_path / "containers", container("a"), SIZE, 1)
    logs = follower(tmp_path, "a")
    file.write_all(line(f"{number}\n") for number in range(100))
    logs.look()
    logs.poll()
    file.rotate()
    file.write_all(line(f"{number}\n") for number in range(100, 150))
    settle(logs, "a")
    assert texts(stored(tmp_path / "store"), "a") == [f"{number}\n" for number in range(150)]
    (gap,) = gaps(tmp_path / "store")
    assert "max_file: 1" in gap.reason


def test_a_full_space_drops_the_oldest_and_says_which(tmp_path: Path) -> None:
    file = JsonFile(tmp_path / "containers", container("a"), 10 << 20, 5)
    logs = follower(tmp_path, "a", most_bytes=20_000)
    logs.look()
    for number in range(20_000):
        file.write(line(f"{number}\n"))
        if number % 400 == 0:
            logs.poll()
    logs.followers[container("a")].drain()
    assert sum(path.stat().st_size for path in logs.segments.finished()) <= 20_000
    settle(logs, "a")
    found = stored(tmp_path / "store")
    lost = gaps(tmp_path / "store")
    assert lost
    assert len(lost) < 3  # neighbours are one
    covered = sorted(
        [(gap.start, gap.end or 0) for gap in lost]
        + [(one.place.name.start, one.place.name.end or 0) for one in found]
    )
    assert covered[0][0] == 0
    assert all(before[1] == after[0] for before, after in itertools.pairwise(covered))
    assert texts(found, "a")[-1] == "19999\n"
