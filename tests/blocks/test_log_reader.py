"""Exported parts and waiting segments are read as one history."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from blocks.log_export import waiting
from blocks.log_reader import LogHistory, following_lines, live_lines
from blocks.store import DirectoryStore
from tests.agent.logs import container, follower, settle
from tests.flows.test_export_logs import logged, write
from tests.killed_work import HOUR, export


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(path=tmp_path / "store")


def history(store: DirectoryStore, tmp_path: Path, since: datetime) -> LogHistory:
    folder = tmp_path / f"scratch-{since:%H%M%S}-{len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    made = LogHistory(store, "iris", "local", folder)
    made.look(since)
    return made


def read(store: DirectoryStore, tmp_path: Path, since: datetime) -> list[int]:
    """In time order; lines of the same moment, of which there are ten, in any order."""
    found = list(history(store, tmp_path, since).lines(since))
    assert [line.time for line in found] == sorted(line.time for line in found)
    return sorted(int(line.text) for line in found)


def test_parts_and_segments_are_one_history_in_time_order(store: DirectoryStore, tmp_path: Path) -> None:
    """Two hours of two containers: the first hour exported, some of it later than the rest."""
    for first in (0, 40_000):
        for letter in "ab":
            write(tmp_path, first, first + 40_000, letter)
        settle(follower(tmp_path, "a", "b"), "a", "b")
        export(store, HOUR + timedelta(hours=1))
        found = read(store, tmp_path, HOUR)
        assert found == sorted([*range(first + 40_000)] * 2)
    assert waiting(store, "local"), "the second hour was not exported"
    assert read(store, tmp_path, HOUR + timedelta(minutes=50)) == sorted([*range(30_000, 80_000)] * 2)
    tail = history(store, tmp_path, HOUR).tail(container("a"))
    assert tail.lines[-1].text == "79999"
    export(store)
    assert read(store, tmp_path, HOUR) == sorted([*range(80_000)] * 2)


def test_what_the_export_takes_away_meanwhile_is_read_all_the_same(
    store: DirectoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged(tmp_path, 0, 3000)
    listed = store.list

    def list_then_export(prefix: str) -> object:
        found = list(listed(prefix))
        if prefix == "logs/service=iris/environment=local/":
            monkeypatch.undo()
            export(store)
        return iter(found)

    monkeypatch.setattr(DirectoryStore, "list", lambda _, prefix: list_then_export(prefix))
    assert read(store, tmp_path, HOUR) == [*range(3000)]


class Engine:
    """A container as docker-py shows it: one frame for each piece, each with its time."""

    id = container("a")

    def logs(self, **given: object) -> list[bytes]:
        if given["stderr"]:
            return [b"2026-11-24T10:00:00.5Z oops\n"]
        start = b"2026-11-24T10:00:00Z " + b"x" * 16384
        return [
            start,
            b"2026-11-24T10:00:00.1Z end\n",
            b"2026-11-24T10:00:01Z next\n",
            b"2026-11-24T10:00:02Z cut",
        ]


def test_live_lines_of_both_streams_with_long_ones_joined() -> None:
    found = list(live_lines(Engine(), datetime(2026, 11, 24, tzinfo=UTC), 3))
    assert [line.text for line in found] == ["x" * 16384 + "end", "oops", "next", "cut"]
    assert [line.stream for line in found] == ["stdout", "stderr", "stdout", "stdout"]


def test_only_checkpoints_of_containers_with_segments_are_read(
    store: DirectoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for letter in "ab":
        write(tmp_path, 0, 100, letter)
    settle(follower(tmp_path, "a", "b"), "a", "b")
    export(store)
    write(tmp_path, 100, 200, "b")
    settle(follower(tmp_path, "b"), "b")
    asked: list[str] = []
    read_one = DirectoryStore.read

    def counted(self: DirectoryStore, key: str) -> tuple[bytes, int]:
        asked.append(key)
        return read_one(self, key)

    monkeypatch.setattr(DirectoryStore, "read", counted)
    assert len(read(store, tmp_path, HOUR)) == 300
    assert {Path(key).stem for key in asked} == {container("b")}


def test_what_comes_after_the_history_is_followed_without_the_lines_that_were_shown() -> None:
    class Running(Engine):
        def logs(self, **given: object) -> list[bytes]:
            assert given["follow"]
            return [b"2026-11-24T10:00:01Z shown\n", b"2026-11-24T10:00:01Z new\n"]

    shown = {("2026-11-24T10:00:01.000000000Z", "shown"), ("2026-11-24T10:00:01.000000000", "shown")}
    found = following_lines(Running(), datetime(2026, 11, 24, tzinfo=UTC), 3, shown)
    assert [line.text for line in found] == ["new"]
