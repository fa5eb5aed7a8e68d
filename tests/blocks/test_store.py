"""What every store must hold, and the ledger on top of it; a directory and a bucket alike."""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.logs.folder import Folder
from blocks.checksums import crc32c_of
from blocks.store import DirectoryStore
from releases.ledger import Ledger
from releases.problem import BadInput
from releases.release import Outcome, Verdict
from releases.store import AlreadyExists, Changed, NotFound, Store, Stored
from sandbox.server import running
from sandbox.world import World
from tests.blocks.buckets import cloud_store
from tests.releases.test_swap import release
from tests.sandbox.conftest import Cloud


@pytest.fixture(params=["directory", "cloud-storage"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "directory":
        yield DirectoryStore(path=tmp_path / "store")
        return
    world = World()
    with running(world) as at:
        yield cloud_store(Cloud(world, at), tmp_path)


def test_an_object_is_created_once(store: Store) -> None:
    store.create("a/b", b"one")
    store.create("a/b", b"one")  # a lost answer, asked again
    with pytest.raises(AlreadyExists):
        store.create("a/b", b"two")
    assert store.read("a/b")[0] == b"one"


def test_a_stale_writer_is_refused(store: Store) -> None:
    first = store.replace("k", b"1", if_generation=0)
    store.replace("k", b"2", if_generation=first)
    with pytest.raises(Changed):
        store.replace("k", b"3", if_generation=first)
    assert store.read("k")[0] == b"2"


@pytest.mark.parametrize("key", ["../out", "/etc/passwd", "a/../../b", ""])
def test_a_key_never_leaves_the_store(store: Store, key: str) -> None:
    with pytest.raises(BadInput):
        store.create(key, b"")


def test_files_go_up_and_down_whole(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blocks.cloud_storage.SLICE", 1 << 20)
    data = b"weights" * 500_000
    (tmp_path / "f").write_bytes(data)
    moved: list[int] = []
    up = store.upload("models/m/v1/f", tmp_path / "f", moved.append)
    assert up == hashlib.sha256(data).hexdigest()
    assert store.stat("models/m/v1/f") == Stored(len(data), crc32c_of(tmp_path / "f"))
    assert store.download("models/m/v1/f", tmp_path / "g", moved.append) == up
    assert (tmp_path / "g").read_bytes() == data
    assert sum(moved) == 2 * len(data)
    with pytest.raises(NotFound):
        store.stat("models/m/v2/f")
    assert list(store.list("models/")) == ["models/m/v1/f"]
    with pytest.raises(NotFound):
        store.download("models/m/v2/f", tmp_path / "h")
    with pytest.raises(NotFound):
        store.stat("models/m/v2/f")


def test_concurrent_writers_get_different_numbers(store: Store) -> None:
    ledger = Ledger(store, "iris", "local")

    def claim(writer: int) -> int:
        # the same bytes twice count as one write: writers differ by their flow run
        mine = {"created_by": str(writer)}
        return ledger.claim(lambda number: release(number).model_copy(update=mine)).number

    with ThreadPoolExecutor(16) as pool:
        numbers = list(pool.map(claim, range(30)))
    assert sorted(numbers) == list(range(1, 31))


def test_the_way_back_skips_what_was_bad_and_goes_further_back_each_time(store: Store) -> None:
    ledger = Ledger(store, "iris", "local")
    verdicts = [Verdict.confirmed, Verdict.confirmed, Verdict.reverted, Verdict.confirmed]
    for verdict in verdicts:
        made = ledger.claim(release)
        ledger.settle(Outcome(number=made.number, verdict=verdict, at=datetime.now(UTC)))
    back = ledger.before(ledger.get(4).release)
    assert back.number == 2
    restored = back.model_copy(update={"number": 5, "restores": 2})
    assert ledger.before(restored).number == 1
    with pytest.raises(BadInput, match="no good release before 1"):
        ledger.before(ledger.get(1).release)


def test_what_is_live_is_found_without_reading_the_whole_record(store: Store) -> None:
    ledger = Ledger(store, "iris", "local")
    for _ in range(12):
        made = ledger.claim(release)
        ledger.settle(Outcome(number=made.number, verdict=Verdict.confirmed, at=datetime.now(UTC)))
    ledger.claim(release)
    reads, read = [], store.read
    object.__setattr__(store, "read", lambda key: reads.append(key) or read(key))
    live = ledger.live()
    assert live is not None
    assert live.release.number == 12
    assert len(reads) == 4, "the open claim and the live one, two objects each"
    assert ledger.before(live.release).number == 11
    assert ledger.named("10").number == 10
    reads.clear()
    assert [one.number for one in ledger.unsettled()] == [13]
    assert len(reads) == 2


def test_a_release_is_named_by_number_version_or_digest_and_only_a_good_one(store: Store) -> None:
    ledger = Ledger(store, "iris", "local")
    for number, verdict in enumerate([Verdict.confirmed, Verdict.reverted, Verdict.confirmed], start=1):
        ledger.claim(lambda number: release(number).model_copy(update={"version": f"v{number}"}))
        ledger.settle(Outcome(number=number, verdict=verdict, at=datetime.now(UTC)))
    ledger.claim(lambda number: release(number).model_copy(update={"version": "v4"}))  # nobody knows yet
    for name in ("1", "v1", release(1).digest):
        assert ledger.named(name).number == 1
    for name in ("2", "v2", "4", "v4", "v9", ""):
        with pytest.raises(BadInput, match=f"no confirmed release is called {name}") as refused:
            ledger.named(name)
        assert refused.value.expected == "one of 3 (v3), 1 (v1)"


def test_of_two_releases_of_a_version_the_name_means_the_newer(store: Store) -> None:
    ledger = Ledger(store, "iris", "local")
    for number in (1, 2):
        ledger.claim(lambda number: release(number).model_copy(update={"version": "abc1234"}))
        ledger.settle(Outcome(number=number, verdict=Verdict.confirmed, at=datetime.now(UTC)))
    assert ledger.named("abc1234").number == 2


def test_an_outcome_is_written_once(store: Store) -> None:
    ledger = Ledger(store, "iris", "local")
    ledger.claim(release)
    assert ledger.settle(Outcome(number=1, verdict=Verdict.reverted, at=datetime.now(UTC)))
    assert not ledger.settle(Outcome(number=1, verdict=Verdict.confirmed, at=datetime.now(UTC)))
    assert ledger.get(1).outcome is not None
    assert ledger.get(1).outcome.verdict is Verdict.reverted


def test_a_claim_whose_answer_was_lost_is_recognised_when_it_is_sent_again(store: Store) -> None:
    once = store.create

    def forgetful(key: str, data: bytes) -> None:
        once(key, data)  # the answer is lost, and the client sends it again
        once(key, data)

    object.__setattr__(store, "create", forgetful)
    ledger = Ledger(store, "iris", "local")
    assert [ledger.claim(release).number for _ in range(2)] == [1, 2]
    assert len(list(store.list("releases/"))) == 2


def test_a_listing_is_sorted_and_only_of_its_prefix(store: Store) -> None:
    for key in ("b/2", "b/10", "a/1", "bc"):
        store.create(key, b"")
    assert list(store.list("b/")) == ["b/10", "b/2"]
    store.remove("b/2")
    store.remove("b/2")
    assert list(store.list("")) == ["a/1", "b/10", "bc"]


@pytest.mark.parametrize("how", ["create", "replace", "upload", "node"])
def test_what_is_written_is_on_the_disk_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    synced: set[int] = set()
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    (tmp_path / "f").write_bytes(b"one")
    directory = DirectoryStore(path=tmp_path / "store")
    directory.path.mkdir()
    {
        "create": lambda: directory.create("a/b/c", b"one"),
        "replace": lambda: directory.replace("a/b/c", b"one", 0),
        "upload": lambda: directory.upload("a/b/c", tmp_path / "f"),
        "node": lambda: Folder(directory.path).upload("a/b/c", tmp_path / "f"),
    }[how]()
    assert {(directory.path / name).stat().st_ino for name in (".", "a", "a/b", "a/b/c")} <= synced
