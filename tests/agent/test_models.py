"""The node's cache of models: nothing starts with a file that is not what was published."""

import itertools
import shutil
from pathlib import Path

import pytest

from agent.failure import Interrupted, StepFailed
from agent.google.storage import Bucket
from agent.kept import KEEP, Kept
from agent.memory import Disk
from agent.model_files import BucketFiles, FolderFiles
from agent.models import Models, remove
from blocks.model_folder import sources_in
from blocks.model_store import ModelStore
from blocks.store import DirectoryStore
from releases.release import ReleasedModel
from releases.spec import Model
from releases.status import Phase
from releases.store import Moved
from tests.agent.test_google_storage import bucket as bucket  # noqa: PLC0414 - fixtures
from tests.agent.test_google_storage import cloud as cloud  # noqa: PLC0414
from tests.agent.test_google_storage import metadata as metadata  # noqa: PLC0414
from tests.blocks.test_model_store import contents, model_folder
from tests.blocks.test_model_store import small_disk as small_disk  # noqa: PLC0414 - a fixture
from tests.killed_work import Silent


class Bench:
    """A store with models in it, and a node's cache."""

    def __init__(self, folder: Path, cache: Path) -> None:
        store = DirectoryStore(path=folder / "store")
        self.folder, self.cache = folder, cache
        self.store = ModelStore(store)
        self.needed: set[str] = set()
        cache.mkdir(parents=True, exist_ok=True)
        (folder / "state").mkdir(exist_ok=True)
        self.start_agent()

    def start_agent(self) -> None:
        disk = Disk(self.folder / "state")
        self.kept = Kept(disk, "models", lambda: self.needed, lambda sha256: remove(self.cache, sha256))
        self.files = FolderFiles(self.folder / "store")
        self.models = Models(self.cache, self.files, self.kept, self.kept.free)

    def publish(self, version: str, size: int = 1) -> ReleasedModel:
        source = model_folder(self.folder / f"source-{version}", version, size)
        wanted = Model(name="iris", version=version)
        self.store.publish(wanted, sources_in(source), Silent())
        return self.store.released(wanted)

    def fetch(self, model: ReleasedModel, interrupted: bool = False, service: str = "sample") -> None:
        self.models.fetch(service, model, lambda: interrupted)

    def published(self, model: ReleasedModel, path: str = "weights.bin") -> Path:
        manifest = self.store.get(model.name, model.version).manifest
        (file,) = [each for each in manifest.files if each.path == path]
        return self.folder / "store" / manifest.key_of(file)

    def fetched(self, model: ReleasedModel) -> Path:
        return self.cache / model.sha256

    def assert_whole(self, model: ReleasedModel) -> None:
        assert contents(self.fetched(model)) == contents(self.folder / f"source-{model.version}")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, tmp_path / "cache")


def test_a_fetched_model_is_the_published_one_and_readable_by_any_user(bench: Bench) -> None:
    model = bench.publish("v1")
    bench.fetch(model)
    bench.assert_whole(model)
    assert bench.models.is_verified("sample", model.sha256)
    modes = {oct(path.stat().st_mode & 0o777) for path in bench.fetched(model).rglob("*")}
    assert modes == {"0o755", "0o644"}


def test_from_a_bucket_too_and_a_spoilt_object_is_refused(bench: Bench, bucket: Bucket) -> None:
    good, spoilt = bench.publish("v1", 1000), bench.publish("v2")
    bench.published(spoilt).write_text("spoilt")
    for file in (bench.folder / "store").rglob("*"):
        if file.is_file():
            bucket.upload(file.relative_to(bench.folder / "store").as_posix(), file)
    bench.models.files = BucketFiles(bucket)
    bench.fetch(good)
    bench.assert_whole(good)
    with pytest.raises(StepFailed, match=r"weights.bin of iris v2 is not what was published"):
        bench.fetch(spoilt)


def test_every_start_needs_another_look(bench: Bench) -> None:
    model = bench.publish("v1")
    bench.fetch(model)
    bench.models.take("sample")
    assert not bench.models.is_verified("sample", model.sha256)


@pytest.mark.parametrize("how", ["cut short", "one bit", "longer", "gone"])
def test_a_file_that_is_spoilt_in_the_store_is_refused_and_named(bench: Bench, how: str) -> None:
    model = bench.publish("v1", 1000)
    file = bench.published(model)
    data = bytearray(file.read_bytes())
    if how == "cut short":
        del data[-1:]
    elif how == "one bit":
        data[len(data) // 2] ^= 1
    elif how == "longer":
        data += b"x"
    file.unlink()
    if how != "gone":
        file.write_bytes(data)
    with pytest.raises(StepFailed) as caught:
        bench.fetch(model)
    failure = caught.value.failure
    assert failure.phase is Phase.fetch
    assert "weights.bin" in failure.reason
    assert failure.next_step == "model-deploy model show iris v1"
    assert not bench.models.is_verified("sample", model.sha256)
    assert not (bench.fetched(model) / "weights.bin").exists()


def test_a_manifest_that_is_not_the_released_one_is_refused(bench: Bench) -> None:
    model = bench.publish("v1")
    manifest = bench.folder / "store" / "models" / "iris" / "v1" / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"note": ""', b'"note": "x"'))
    with pytest.raises(StepFailed, match="is not the one that was released"):
        bench.fetch(model)


@pytest.mark.parametrize("how", ["cut short", "one bit", "gone"])
def test_a_file_that_was_spoilt_on_the_node_is_fetched_again(bench: Bench, how: str) -> None:
    model = bench.publish("v1", 1000)
    bench.fetch(model)
    file = bench.fetched(model) / "weights.bin"
    data = file.read_bytes()
    if how == "gone":
        file.unlink()
    else:
        file.write_bytes(data[:-1] if how == "cut short" else data[:-1] + b"?")
    bench.fetch(model)
    bench.assert_whole(model)


def test_what_is_here_and_right_needs_no_store(bench: Bench) -> None:
    model = bench.publish("v1")
    bench.fetch(model)
    shutil.rmtree(bench.folder / "store")
    bench.start_agent()
    bench.fetch(model)
    assert bench.models.is_verified("sample", model.sha256)


def test_a_fetch_that_was_cut_off_goes_on_with_what_is_missing(bench: Bench) -> None:
    model = bench.publish("v1", 100)
    bench.fetch(model)
    for name in ("weights.bin", "sub/manifest.json"):
        (bench.fetched(model) / name).unlink()
    (bench.fetched(model) / ".weights.bin.part").write_text("half")
    asked: list[str] = []

    class Counting(FolderFiles):
        def download(self, key: str, file: Path, moved: Moved) -> None:
            asked.append(key.rpartition("@")[0].removeprefix("models/iris/v1/"))
            super().download(key, file, moved)

    bench.models.files = Counting(bench.folder / "store")
    bench.fetch(model)
    bench.assert_whole(model)
    assert sorted(asked) == ["sub/manifest.json", "weights.bin"]


def test_a_fetch_ends_when_something_else_is_wanted(bench: Bench) -> None:
    with pytest.raises(Interrupted):
        bench.fetch(bench.publish("v1", 100), interrupted=True)


def test_old_models_go_but_never_one_that_is_needed(bench: Bench) -> None:
    models = [bench.publish(f"v{number}") for number in range(1, KEEP + 4)]
    bench.needed = {models[0].sha256}
    for model in models:
        bench.fetch(model)
    (bench.cache / ("f" * 64)).mkdir()  # of a node whose memory was lost
    bench.models.prune("sample")
    there = {path.name.removesuffix(".manifest") for path in bench.cache.iterdir()}
    assert there == {model.sha256 for model in [models[0], *models[-KEEP:]]}


def test_what_somebody_else_has_put_beside_the_models_takes_none_away(bench: Bench) -> None:
    model = bench.publish("v1")
    bench.fetch(model)
    (bench.cache / ".DS_Store").touch()
    (bench.cache / "notes.txt").touch()
    (bench.cache / "lost+found").mkdir()
    bench.models.prune("sample")
    bench.assert_whole(model)
    strangers = {path.name for path in bench.cache.iterdir() if not path.name.startswith(model.sha256)}
    assert strangers == {".DS_Store", "notes.txt", "lost+found"}


def test_what_another_service_keeps_for_going_back_stays_until_that_one_lets_go(bench: Bench) -> None:
    shared, *newer = [bench.publish(f"v{number}") for number in range(KEEP + 1)]
    for service in ("other", "sample"):
        bench.fetch(shared, service=service)
    for model in newer:
        bench.fetch(model)
    bench.models.prune("sample")
    bench.assert_whole(shared)
    for model in newer:
        bench.fetch(model, service="other")
    bench.models.prune("other")
    assert not bench.fetched(shared).exists()
    for model in newer:
        bench.assert_whole(model)


def test_a_full_disk_frees_retired_models_first_and_then_says_what_is_missing(
    small_disk: Path, tmp_path: Path
) -> None:
    bench = Bench(tmp_path, small_disk / "cache")
    first, second, third = (bench.publish(f"v{number}", 8_000) for number in (1, 2, 3))
    bench.needed = {first.sha256}
    bench.fetch(first)
    bench.needed |= {second.sha256}
    with pytest.raises(StepFailed, match=r"no room for iris v2: \d+ bytes are missing, \d+ are free"):
        bench.fetch(second)
    bench.assert_whole(first)
    bench.needed = {third.sha256}  # the first is retired
    bench.fetch(third)
    bench.assert_whole(third)
    assert not bench.fetched(first).exists()


@pytest.mark.parametrize(("seconds", "fails"), [(600.0, False), (1000.0, True)])
def test_a_fetch_may_take_long_but_not_stand_still(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, seconds: float, fails: bool
) -> None:
    model = bench.publish("v1")
    clock = itertools.count(step=seconds)
    monkeypatch.setattr("agent.models.time.monotonic", lambda: next(clock))
    if fails:
        with pytest.raises(StepFailed, match="no more of it came"):
            bench.fetch(model)
    else:
        bench.fetch(model)
        bench.assert_whole(model)
