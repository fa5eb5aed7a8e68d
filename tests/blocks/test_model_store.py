"""Publishing: whole or not at all, whoever dies, disagrees or cuts corners meanwhile."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from blocks.model_folder import sources_in
from blocks.model_store import ModelStore, Published
from blocks.store import DirectoryStore
from releases.model_manifest import manifest_key
from releases.problem import BadInput, Failed, Problem, Refused, Unreachable
from releases.spec import Model
from sandbox.server import running
from sandbox.world import World
from tests import killed_work
from tests.blocks.buckets import cloud_store
from tests.flaky_store import FlakyStore
from tests.killed_work import Silent
from tests.killing import Killer
from tests.sandbox.conftest import Cloud

KILLS = 50
V1 = Model(name="iris", version="v1")


def models(folder: Path) -> ModelStore:
    store = DirectoryStore(path=folder)
    return ModelStore(store)


def publish(store: ModelStore, folder: Path, wanted: Model = V1, **told: Any) -> Published:
    return store.publish(wanted, sources_in(folder), Silent(), **told)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return model_folder(tmp_path / "model", "one")


def model_folder(folder: Path, content: str, size: int = 1) -> Path:
    (folder / "sub").mkdir(parents=True)
    for name in ("weights.bin", "labels.json", "sub/manifest.json", "manifest.json", ".config"):
        (folder / name).write_text(f"{content} {name} " * size)
    return folder


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return models(tmp_path / "store")


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[ModelStore]:
    """The same on Cloud Storage."""
    world = World()
    with running(world) as at:
        made = cloud_store(Cloud(world, at), tmp_path)
        yield ModelStore(made)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_what_was_published_is_what_is_fetched(store: ModelStore, folder: Path, tmp_path: Path) -> None:
    progress = Silent()
    made = store.publish(V1, sources_in(folder), progress, metrics={"accuracy": 0.9}, note="n", by="me")
    assert progress.seen == progress.total == 2 * made.manifest.size
    found = store.get("iris", "v1")
    assert found == made
    assert (found.manifest.metrics, found.manifest.note, found.manifest.created_by) == (
        {"accuracy": 0.9},
        "n",
        "me",
    )
    store.download(found, tmp_path / "got", Silent())
    assert contents(tmp_path / "got") == contents(folder)


def test_in_a_bucket_too_it_is_what_was_published_and_never_changes(
    bucket: ModelStore, folder: Path, tmp_path: Path
) -> None:
    made = publish(bucket, folder)
    bucket.download(made, tmp_path / "got", Silent())
    assert contents(tmp_path / "got") == contents(folder)
    assert publish(bucket, folder) == made
    (folder / "weights.bin").write_text("other")
    with pytest.raises(Refused) as caught:
        publish(bucket, folder)
    assert made.sha256 in caught.value.got
    assert bucket.point("iris", "production", "v1") is None
    assert bucket.get("iris", "production") == made


def test_publishing_the_same_again_changes_nothing(store: ModelStore, folder: Path) -> None:
    first = publish(store, folder, note="first", metrics={"accuracy": 0.9})
    assert publish(store, folder, note="first") == first
    assert publish(store, folder) == first


def test_other_metrics_and_another_note_of_the_same_files_are_named(store: ModelStore, folder: Path) -> None:
    publish(store, folder, note="first", metrics={"accuracy": 0.9})
    with pytest.raises(Refused, match=r"with the same files and other metrics: {'accuracy': 0.9}"):
        publish(store, folder, metrics={"accuracy": 0.8})
    with pytest.raises(Refused, match="with the same files and another note: first"):
        publish(store, folder, note="second")


def test_what_was_sent_while_it_changed_does_not_block_the_version(
    store: ModelStore, folder: Path, tmp_path: Path
) -> None:
    weights = next(file for file in publish(store, folder).manifest.files if file.path == "weights.bin")
    there = tmp_path / "store/models/iris/v2" / weights.key_part
    there.parent.mkdir(parents=True)
    there.write_text("x" * weights.size)
    made = publish(store, folder, Model(name="iris", version="v2"))
    store.download(made, tmp_path / "got", Silent())
    assert contents(tmp_path / "got") == contents(folder)
    assert publish(store, folder, Model(name="iris", version="v2")) == made


def test_a_model_is_fetched_into_the_empty_folder_one_stands_in(
    store: ModelStore, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = publish(store, folder)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    store.download_whole(made, Path(), Silent())
    assert contents(Path.cwd()) == contents(folder)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_other_content_under_a_published_version_is_refused_and_names_what_is_there(
    store: ModelStore, folder: Path
) -> None:
    first = publish(store, folder)
    (folder / "weights.bin").write_text("other")
    with pytest.raises(Refused) as caught:
        publish(store, folder)
    assert first.sha256 in caught.value.got
    assert store.get("iris", "v1") == first


def test_of_two_publishers_one_wins_and_the_other_is_told_the_winners_checksum(
    store: ModelStore, tmp_path: Path
) -> None:
    folders = [model_folder(tmp_path / str(number), str(number), 10_000) for number in range(6)]

    def attempt(folder: Path) -> Published | Refused:
        try:
            return publish(store, folder)
        except Refused as told:
            return told

    with ThreadPoolExecutor(6) as pool:
        ended = list(pool.map(attempt, folders))
    (winner,) = [one for one in ended if isinstance(one, Published)]
    assert all(winner.sha256 in one.got for one in ended if isinstance(one, Refused))
    store.download(winner, tmp_path / "got", Silent())
    assert contents(tmp_path / "got") == contents(folders[ended.index(winner)])


def test_what_an_unfinished_publish_left_is_in_nobodys_way(store: ModelStore, tmp_path: Path) -> None:
    first, second = (model_folder(tmp_path / name, name) for name in ("first", "second"))
    publish(store, first)
    (store.store.path / manifest_key("iris", "v1")).unlink()  # type: ignore[attr-defined]
    made = publish(store, second)
    store.download(made, tmp_path / "got", Silent())
    assert contents(tmp_path / "got") == contents(second)


def test_killed_at_random_points_a_version_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model", "x", 60_000)
    killer, torn = Killer(), 0
    for number in range(2 * KILLS):
        if killer.killed == KILLS:
            break
        place = tmp_path / f"store-{number % 7}"  # some are begun more than once
        killer.run(killed_work.publish, place, folder)
        found = models(place).versions()
        for each in found:
            models(place).download(each, tmp_path / f"got-{number}", Silent())
            assert contents(tmp_path / f"got-{number}") == contents(folder)
        torn += not found
        if found:
            shutil.rmtree(place)  # publishing again is quick: it would not be killed
    assert killer.killed == KILLS
    assert torn, "none was killed before it was through"
    for number in range(7):
        publish(models(tmp_path / f"store-{number}"), folder)
        assert len(models(tmp_path / f"store-{number}").versions()) == 1


@pytest.mark.parametrize("seed", range(3))
def test_a_store_that_fails_and_loses_answers_gets_the_version_once(
    folder: Path, tmp_path: Path, seed: int
) -> None:
    flaky = ModelStore(FlakyStore(DirectoryStore(path=tmp_path / "store"), seed))
    for _ in range(500):
        try:
            made = publish(flaky, folder)
        except Unreachable:
            continue
        break
    store = models(tmp_path / "store")
    assert store.versions() == [made]
    store.download(made, tmp_path / "got", Silent())
    assert contents(tmp_path / "got") == contents(folder)


def spoil_empty(folder: Path) -> Path:
    (folder / "nothing" / "below").mkdir(parents=True)
    return folder / "nothing"


def spoil_link(folder: Path) -> Path:
    (folder / "stolen").symlink_to("/etc/hostname")
    return folder


def spoil_folder_link(folder: Path) -> Path:
    (folder / "all").symlink_to("/etc")
    return folder


def spoil_loose_link(folder: Path) -> Path:
    (folder / "gone").symlink_to("nowhere")
    return folder


def spoil_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder


def spoil_name(folder: Path) -> Path:
    (folder / "line\nbreak").touch()
    return folder


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (spoil_empty, "the folder is empty"),
        (spoil_link, "stolen is a link out of the folder"),
        (spoil_folder_link, "a link to a folder is not followed"),
        (spoil_loose_link, "No such file"),
        (spoil_pipe, "pipe is no file"),
        (spoil_name, "control characters"),
        (lambda folder: folder / "not there", "there is no such file or folder"),
    ],
)
def test_a_folder_that_cannot_be_published_is_told_so(folder: Path, spoil: Any, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        sources_in(spoil(folder))
    assert said in str(caught.value)
    assert str(folder) in caught.value.where


def test_a_link_within_the_folder_is_published_as_what_it_leads_to(
    store: ModelStore, folder: Path, tmp_path: Path
) -> None:
    (folder / "latest.bin").symlink_to("weights.bin")
    store.download(publish(store, folder), tmp_path / "got", Silent())
    assert (tmp_path / "got" / "latest.bin").read_bytes() == (folder / "weights.bin").read_bytes()
    assert not (tmp_path / "got" / "latest.bin").is_symlink()


def test_one_file_is_a_model_too(store: ModelStore, folder: Path) -> None:
    assert [file.path for file in publish(store, folder / "weights.bin").manifest.files] == ["weights.bin"]


def test_a_file_that_changes_meanwhile_makes_no_version(store: ModelStore, folder: Path) -> None:
    class Changing(Silent):
        def moved(self, size: int) -> None:
            (folder / "weights.bin").write_text("changed" * 10)

    with pytest.raises(Problem, match="changed while it was published"):
        store.publish(V1, sources_in(folder / "weights.bin"), Changing())
    assert store.versions() == []


def test_a_spoilt_object_is_noticed_and_not_left_on_the_disk(
    store: ModelStore, folder: Path, tmp_path: Path
) -> None:
    made = publish(store, folder)
    weights = next(file for file in made.manifest.files if file.path == "weights.bin")
    (tmp_path / "store" / made.manifest.key_of(weights)).write_text("x" * weights.size)
    with pytest.raises(Failed, match="not what was published") as caught:
        store.download(made, tmp_path / "got", Silent())
    assert weights.sha256 in caught.value.expected
    assert not (tmp_path / "got" / "weights.bin").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    path = tmp_path / "small"
    path.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(path)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("a small disk can be mounted only as root")
    yield path
    subprocess.run(["umount", str(path)], check=True)


def test_a_full_disk_is_told_and_leaves_no_version(small_disk: Path, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model", "x", 100_000)
    with pytest.raises(Failed) as caught:
        publish(models(small_disk), folder)
    assert "No space left on device" in str(caught.value)
    assert models(small_disk).versions() == []
    made = publish(models(tmp_path / "store"), folder)
    with pytest.raises(Failed, match="No space left on device"):
        models(tmp_path / "store").download(made, small_disk / "got", Silent())


def test_versions_come_in_their_order_and_a_missing_one_names_those_that_are_there(
    store: ModelStore, folder: Path
) -> None:
    for version in ("v10", "v2", "v1.1"):
        (folder / "weights.bin").write_text(version)
        publish(store, folder, Model(name="iris", version=version))
    publish(store, folder, Model(name="fraud", version="v1"))
    assert [one.manifest.version for one in store.versions("iris")] == ["v1.1", "v2", "v10"]
    assert len(store.versions()) == 4
    with pytest.raises(BadInput) as caught:
        store.get("iris", "v3")
    assert caught.value.expected == "one of v1.1, v2, v10"


def test_an_alias_moves_and_only_to_what_is_there(store: ModelStore, folder: Path) -> None:
    publish(store, folder)
    publish(store, folder, Model(name="iris", version="v2"))
    assert store.point("iris", "production", "v1") is None
    assert store.point("iris", "production", "v2") == "v1"
    assert store.point("iris", "candidate", "production") is None
    assert store.get("iris", "candidate").manifest.version == "v2"
    with pytest.raises(BadInput):
        store.point("iris", "production", "v3")
    assert store.get("iris", "production").manifest.version == "v2"


def test_aliases_set_at_once_are_all_kept(store: ModelStore, folder: Path) -> None:
    publish(store, folder)
    names = [f"alias-{number}" for number in range(12)]
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda name: store.point("iris", name, "v1"), names))
    assert sorted(store.aliases("iris").aliases) == sorted(names)
