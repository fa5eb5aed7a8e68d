"""A model is published to a disk, or fetched onto one, that is full."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from blocks.model_folder import sources_in
from blocks.model_store import ModelStore
from blocks.store import DirectoryStore
from releases.problem import Failed, Refused
from tests.blocks.buckets import cloud_store
from tests.blocks.test_model_store import contents, model_folder, publish
from tests.killed_work import Silent
from tests.sandbox.conftest import Cloud, cloud  # noqa: F401 - a fixture

PAGE = 4096
MEGABYTE = 1 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={2 * MEGABYTE}", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Five files of about 70 kB."""
    return model_folder(tmp_path / "model", "x", 4000)


def leave(disk: Path, size: int) -> Path:
    """A file that leaves so much of the disk free."""
    ballast = disk / "ballast"
    ballast.unlink(missing_ok=True)
    room = os.statvfs(disk)
    ballast.write_bytes(bytes(room.f_bavail * room.f_frsize - size))
    return ballast


def leavings(disk: Path) -> list[Path]:
    return [path for path in disk.rglob("*") if path.name.startswith(".new-")]


def test_publishing_onto_a_full_disk_is_whole_or_said_and_the_next_try_works(disk: Path, model: Path) -> None:
    """With every amount of room, from none to enough: each write is once the one that fails."""
    ended = set()
    for size in range(0, 500_000, 3 * PAGE):
        store = ModelStore(DirectoryStore(path=disk / f"store-{size}"))
        ballast = leave(disk, size)
        try:
            made = publish(store, model)
        except Failed as told:
            ended.add((told.what.split(": ")[1], told.got))
            assert store.versions() == []
        else:
            assert store.get("iris", "v1") == made
            ended.add(("whole", ""))
        assert leavings(disk) == []
        ballast.unlink()
        assert publish(store, model).manifest.size == sum(file.size for file in sources_in(model))
        subprocess.run(["rm", "-rf", str(disk / f"store-{size}")], check=True)
    assert ended == {("there is no room left", "No space left on device"), ("whole", "")}


def test_an_alias_that_finds_no_room_stays_as_it_was(disk: Path, model: Path) -> None:
    store = ModelStore(DirectoryStore(path=disk / "store"))
    publish(store, model)
    store.point("iris", "production", "v1")
    ballast = leave(disk, 0)
    with pytest.raises(Failed, match="no room left") as told:
        store.point("iris", "candidate", "v1")
    assert "make room" in told.value.next_step
    assert list(store.aliases("iris").aliases) == ["production"]
    ballast.unlink()
    store.point("iris", "candidate", "v1")


@pytest.mark.parametrize("where", ["directory", "bucket"])
def test_fetching_onto_a_full_disk_is_said_and_the_next_try_works(
    disk: Path,
    model: Path,
    tmp_path: Path,
    where: str,
    cloud: Cloud,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stores = {
        "directory": lambda: DirectoryStore(path=tmp_path / "store"),
        "bucket": lambda: cloud_store(cloud, tmp_path),
    }
    store = ModelStore(stores[where]())
    made = publish(store, model)
    ballast = leave(disk, 200_000)
    with pytest.raises(Refused, match="no room"):
        store.download_whole(made, disk / "got", Silent())
    # Somebody else takes the room meanwhile.
    monkeypatch.setattr("blocks.model_store.shutil.disk_usage", lambda _: SimpleNamespace(free=1 << 40))
    with pytest.raises(Failed, match="no room left") as told:
        store.download_whole(made, disk / "got", Silent())
    assert "No space left" in told.value.got
    assert not (disk / "got").exists()
    assert not [path for path in disk.rglob("*.part") if path.is_file()]
    monkeypatch.undo()
    ballast.unlink()
    store.download_whole(made, disk / "got", Silent())
    assert contents(disk / "got") == contents(model)
