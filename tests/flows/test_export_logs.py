"""What the nodes have uploaded is exported exactly once, and what is missing is said."""

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
import zstandard

from agent.logs.follow import Limits
from bench.json_file import JsonFile, line
from blocks.log_expiry import expire_logs
from blocks.log_gaps import forget_gaps, untold_gaps
from blocks.store import DirectoryStore
from releases.log_export import joined, missing
from releases.problem import Unreachable
from releases.store import Changed
from sandbox.server import running
from sandbox.world import World
from tests.agent.logs import container, follower, settle
from tests.blocks.buckets import cloud_store
from tests.flaky_store import FlakyStore
from tests.killed_work import HOUR, export, export_in
from tests.killing import Killer
from tests.sandbox.conftest import Cloud

KILLS = 50


def lines(store: Path) -> list[dict[str, Any]]:
    found = []
    for path in sorted((store / "logs").glob("service=*/**/part-*.jsonl.zst")):
        with path.open("rb") as raw:
            text = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True).read()
        found += [{**orjson.loads(each), "path": path.parent.as_posix()} for each in text.splitlines()]
    return found


def numbers(store: Path) -> list[int]:
    return [int(each["line"]) for each in lines(store)]


def segments(store: Path) -> list[Path]:
    return [path for path in (store / "logs" / "segments").rglob("*") if path.is_file()]


def write(
    tmp_path: Path, first: int, last: int, letter: str = "a", per_second: int = 10, size: int = 500_000
) -> None:
    file = JsonFile(tmp_path / "containers", container(letter), size, 20)
    for number in range(first, last):
        file.write(line(f"{number}\n", at=HOUR + timedelta(seconds=number // per_second)))
    file.file.close()


def logged(tmp_path: Path, first: int, last: int, per_second: int = 10, size: int = 500_000) -> None:
    """Written by one container, and uploaded by its node."""
    write(tmp_path, first, last, per_second=per_second, size=size)
    settle(follower(tmp_path, "a"), "a")


def test_an_hour_becomes_one_object_per_container(tmp_path: Path, store: DirectoryStore) -> None:
    for letter in "ab":
        write(tmp_path, 0, 50_000, letter)
    settle(follower(tmp_path, "a", "b"), "a", "b")
    done = export(store)
    found = lines(tmp_path / "store")
    assert len({each["container"] for each in found}) == 2
    assert sorted(int(each["line"]) for each in found) == sorted([*range(50_000)] * 2)
    first = next(each for each in found if (each["container"][0], each["line"]) == ("a", "0"))
    assert first == {
        "node": "n1",
        "container": "a" * 12,
        "release": 3,
        "model_version": "v1.1",
        "line": "0",
        "stream": "stdout",
        "time": "2025-11-24T10:00:00.123456789Z",
        "path": first["path"],
    }
    assert all(f"hour={each['time'][11:13]}" in each["path"] for each in found)
    assert sum(len(each.parts) for each in done) == 4  # two hours
    assert not any(each.holes for each in done)
    assert not segments(tmp_path / "store")
    assert not export(store)


def test_the_hour_that_is_not_over_waits(tmp_path: Path, store: DirectoryStore) -> None:
    logged(tmp_path, 0, 50_000)
    export(store, HOUR + timedelta(hours=1))
    assert numbers(tmp_path / "store") == [*range(36_000)]
    assert segments(tmp_path / "store")
    export(store)
    assert numbers(tmp_path / "store") == [*range(50_000)]


def test_late_segments_become_a_further_part(tmp_path: Path, store: DirectoryStore) -> None:
    for first in (0, 1000, 2000):
        logged(tmp_path, first, first + 1000)
        (done,) = export(store)
        assert len(done.parts) == 1
        assert not done.holes
    assert sorted(numbers(tmp_path / "store")) == [*range(3000)]


def test_an_agent_that_lost_its_memory_repeats_nothing(tmp_path: Path, store: DirectoryStore) -> None:
    logged(tmp_path, 0, 5000)
    export(store)
    write(tmp_path, 5000, 7000)
    (tmp_path / "state").rename(tmp_path / "lost")
    settle(follower(tmp_path, "a", limits=Limits(raw_bytes=41_000)), "a")  # other ranges than before
    export(store)
    assert sorted(numbers(tmp_path / "store")) == [*range(7000)]
    assert not segments(tmp_path / "store")


def test_a_missing_segment_is_a_gap_with_its_bounds(tmp_path: Path, store: DirectoryStore) -> None:
    logged(tmp_path, 0, 500)
    size = sum(len(line(f"{number}\n")) for number in range(500))
    segments(tmp_path / "store")[0].unlink()
    logged(tmp_path, 500, 550)
    (done,) = export(store)
    assert [(hole.start, hole.end) for hole in done.holes] == [(0, size)]
    logged(tmp_path, 550, 600)
    (again,) = export(store)
    assert not again.holes  # said once


def test_what_the_node_dropped_is_a_gap_with_its_reason(tmp_path: Path, store: DirectoryStore) -> None:
    write(tmp_path, 0, 20_000)
    logs = follower(tmp_path, "a", most_bytes=20_000)
    settle(logs, "a")
    (done,) = export(store)
    assert done.holes
    assert all("full" in hole.reason for hole in done.holes)
    lost = sum((hole.end or 0) - hole.start for hole in done.holes)
    whole = sum(path.stat().st_size for path in (tmp_path / "containers" / container("a")).iterdir())
    assert lost + done.raw_bytes == whole


def test_a_whole_file_that_was_dropped_is_missed(tmp_path: Path, store: DirectoryStore) -> None:
    logged(tmp_path, 0, 2000, size=50_000)
    files = sorted({path.name.split(".")[1] for path in segments(tmp_path / "store")})
    assert len(files) == 3
    for path in segments(tmp_path / "store"):
        if f".{files[1]}." in path.name:
            path.unlink()
    (done,) = export(store)
    (hole,) = done.holes
    assert (hole.file, hole.start) == (files[1].split("-")[1], 0)


def test_of_two_files_missing_in_a_row_both_are_said(tmp_path: Path, store: DirectoryStore) -> None:
    logged(tmp_path, 0, 2500, size=50_000)
    files = sorted({path.name.split(".")[1] for path in segments(tmp_path / "store")})
    for path in segments(tmp_path / "store"):
        if path.name.split(".")[1] in files[1:3]:
            path.unlink()
    (done,) = export(store)
    last = files[2].split("-")[1]
    assert {(hole.file, hole.end is None) for hole in done.holes} == {(last, False), (last, True)}
    logged(tmp_path, 2500, 2600, size=50_000)
    assert not export(store)[0].holes  # said once


def test_a_gap_is_told_until_somebody_was_told(tmp_path: Path, store: DirectoryStore) -> None:
    logged(tmp_path, 0, 500)
    segments(tmp_path / "store")[0].unlink()
    logged(tmp_path, 500, 550)

    class AnswerLost:
        """Of the write that counts the gap as told."""

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        def replace(self, key: str, data: bytes, if_generation: int) -> int:
            done = store.replace(key, data, if_generation)
            if orjson.loads(data)["told"]:
                raise Changed("the answer was lost")
            return done

    (done,) = export(AnswerLost())
    assert len(done.holes) == 1
    assert not export(store)  # nothing more of this container ever comes
    untold = untold_gaps(store, "local", "iris")
    assert untold.gaps == done.holes
    forget_gaps(store, untold)
    assert not untold_gaps(store, "local").gaps


def test_a_segment_that_cannot_be_read_does_not_hold_up_the_others(
    tmp_path: Path, store: DirectoryStore
) -> None:
    logged(tmp_path, 0, 5000, size=100_000)
    bad = sorted(segments(tmp_path / "store"))[1]
    whole = bad.read_bytes()
    bad.write_bytes(whole[: len(whole) // 2])
    (done,) = export(store)
    (hole,) = done.holes
    assert "cannot be read" in hole.reason
    assert len(numbers(tmp_path / "store")) < 5000
    assert not segments(tmp_path / "store")
    kept = store.path / "logs/unreadable" / bad.relative_to(store.path / "logs/segments")
    assert kept.read_bytes() == whole[: len(whole) // 2]
    bad.write_bytes(whole)  # mended and put back, as the gap says
    export(store)
    assert sorted(numbers(tmp_path / "store")) == [*range(5000)]


@pytest.mark.fault(26)
def test_killed_at_random_points_every_line_is_there_once(tmp_path: Path, store: DirectoryStore) -> None:
    killer, written = Killer(), 0
    while killer.killed < KILLS and killer.runs < 2 * KILLS:
        logged(tmp_path, written, written + 1500, per_second=1)
        written += 1500
        killer.run(export_in, tmp_path / "store")
    assert killer.killed == KILLS
    export(store)
    assert sorted(numbers(tmp_path / "store")) == [*range(written)]
    assert not segments(tmp_path / "store")


@pytest.mark.parametrize("seed", range(8))
def test_a_store_that_fails_gets_every_line_once(tmp_path: Path, store: DirectoryStore, seed: int) -> None:
    logged(tmp_path, 0, 60_000)
    flaky = FlakyStore(store, seed)
    for _ in range(200):
        try:
            export(flaky)
        except Unreachable:
            continue
        break
    assert sorted(numbers(tmp_path / "store")) == [*range(60_000)]


@pytest.mark.parametrize("kind", ["lost_response", "lost_request", "unavailable", "rate_limit", "internal"])
@pytest.mark.fault(25)
def test_a_bucket_whose_answers_get_lost_gets_every_line_once(tmp_path: Path, kind: str) -> None:
    logged(tmp_path, 0, 3000)
    world = World()
    with running(world) as at:
        cloud = Cloud(world, at)
        bucket = cloud_store(cloud, tmp_path)
        for path in segments(tmp_path / "store"):
            bucket.upload(path.relative_to(tmp_path / "store").as_posix(), path)
        for method, where in (("POST", "/upload/*"), ("GET", "/storage/*"), ("DELETE", "/storage/*")):
            cloud.fault(kind, method=method, path=where, count=1)
        for _ in range(2):
            export(bucket)
        for key in bucket.list("logs/"):
            copy = tmp_path / "copy" / key
            copy.parent.mkdir(parents=True, exist_ok=True)
            bucket.download(key, copy)
    assert sorted(numbers(tmp_path / "copy")) == [*range(3000)]
    assert not segments(tmp_path / "copy")


@pytest.mark.fault(31)
def test_a_clock_that_jumps_back_and_forth_exports_every_line_once(
    tmp_path: Path, store: DirectoryStore
) -> None:
    file = JsonFile(tmp_path / "containers", container("a"), 1 << 20, 5)
    logs = follower(tmp_path, "a", limits=Limits())
    for number, hours in enumerate((0, -3, 26, -1)):
        at = HOUR + timedelta(hours=hours)
        file.write_all(line(f"{number * 100 + each}\n", at=at) for each in range(100))
        logs.look()
        logs.poll()
    settle(logs, "a")
    (done,) = export(store)
    assert not done.holes
    assert sorted(numbers(tmp_path / "store")) == [*range(400)]
    assert all(f"hour={each['time'][11:13]}" in each["path"] for each in lines(tmp_path / "store"))


def test_two_exports_at_once_write_every_line_once(tmp_path: Path, store: DirectoryStore) -> None:
    logged(tmp_path, 0, 60_000)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: export(store), range(4)))
    assert sorted(numbers(tmp_path / "store")) == [*range(60_000)]
    assert not segments(tmp_path / "store")


def test_days_that_are_kept_no_longer_go_and_nothing_else(tmp_path: Path) -> None:
    store = DirectoryStore(path=tmp_path / "store", keep_logs=30)
    today = date(2026, 11, 25)
    folder = "logs/{}service={}/environment={}/date={}/hour=10/{}"
    old = [
        folder.format("", name, "local", day, "part-a.jsonl.zst")
        for name, day in (("iris", "2026-10-25"), ("iris", "2025-01-01"), ("prefect", "2026-10-25"))
    ]
    kept = [
        folder.format("", "iris", "local", "2026-10-26", "part-a.jsonl.zst"),
        folder.format("", "iris", "production", "2025-01-01", "part-a.jsonl.zst"),
        folder.format(
            "segments/", "iris", "local", "2025-01-01", "n/aa.1-b.0-9.jsonl.zst"
        ),  # not exported yet
        "logs/exports/service=iris/environment=local/aa.json",
        "models/iris/v1/manifest.json",
        "releases/iris/local/000001.json",
        "data/iris-predictions/date=2025-01-01/a.parquet",
        "reports/environment=local/2025-01-01.html",
    ]
    for key in [*old, *kept]:
        store.create(key, b"x")
    gone = expire_logs(store, "local", today)
    gone_container = store.path / "logs/exports/service=iris/environment=local/bb.json"
    gone_container.write_text("{}")
    long_ago = datetime(2026, 10, 1, tzinfo=UTC).timestamp()
    os.utime(gone_container, (long_ago, long_ago))
    assert sorted(gone) == sorted(key.removesuffix("/hour=10/part-a.jsonl.zst") for key in old)
    assert set(store.list("")) - {gone_container.relative_to(store.path).as_posix()} == set(kept)
    assert expire_logs(store, "local", today) == []
    assert not gone_container.exists()


def test_ranges() -> None:
    assert joined([(5, 9), (0, 5), (20, 30)]) == [(0, 9), (20, 30)]
    assert missing([(0, 9), (20, 30)], (5, 40)) == [(9, 20), (30, 40)]
    assert missing([], (0, 0)) == []
    assert missing([(0, 9)], (2, 5)) == []
