"""`model-deploy model publish` to a bucket on a bad day: the version whole or not at all, and the right last word."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from blocks import cloud_storage, resumable_upload
from blocks.cloud_storage import CloudStorage
from blocks.model_store import ModelStore
from deployments import cli, model_commands
from sandbox.server import running
from sandbox.world import World
from tests.blocks.buckets import cloud_store
from tests.blocks.test_model_store import Silent, contents
from tests.sandbox.conftest import Cloud

OK, UNREACHABLE = 0, 4
KINDS = ["lost_response", "lost_request", "unavailable", "rate_limit", "internal"]
WAYS = (("GET", "/storage/*"), ("POST", "/upload/*"), ("PUT", "/upload/*"))

Publish = Callable[[], tuple[int, str]]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cloud, CloudStorage]]:
    world = World()
    with running(world) as at:
        cloud = Cloud(world, at)
        yield cloud, cloud_store(cloud, tmp_path_factory.mktemp("bucket"))


@pytest.fixture
def cloud(
    served: tuple[Cloud, CloudStorage], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Cloud]:
    """Impatient, and with the bucket empty."""
    monkeypatch.setenv("MODEL_DEPLOY_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(resumable_upload, "PIECE", 256 << 10)
    world = served[0].world
    world.buckets["kept"].objects.clear()
    world.uploads.clear()
    yield served[0]
    world.faults.clear()


@pytest.fixture
def models(served: tuple[Cloud, CloudStorage], cloud: Cloud) -> ModelStore:
    return ModelStore(served[1])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "weights.bin").write_bytes(os.urandom(700_000))  # in pieces
    (folder / "sub/labels.json").write_text("{}")
    return folder


@pytest.fixture
def publish(
    models: ModelStore, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Publish:
    """The command: its exit code and what it says of a failure."""

    @contextmanager
    def here(_: str) -> Iterator[ModelStore]:
        yield models

    monkeypatch.setattr(model_commands, "_models", here)
    monkeypatch.setattr(cli, "gc", SimpleNamespace(set_threshold=lambda _: None, freeze=None))
    monkeypatch.setattr(cli, "atexit", SimpleNamespace(register=lambda _: None))
    monkeypatch.setattr(sys, "argv", ["model-deploy", "model", "publish", "iris", "v1", str(folder)])

    def typed() -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), capsys.readouterr().err

    return typed


def assert_published_once(cloud: Cloud, models: ModelStore, folder: Path, to: Path) -> None:
    (made,) = models.versions()
    models.download_whole(made, to, Silent())
    assert contents(to) == contents(folder)
    written = cloud.world.buckets["kept"].objects
    assert len(written) == 3, "two files and the manifest"
    assert all(len(generations) == 1 for generations in written.values())


def assert_told(said: tuple[int, str]) -> None:
    code, words = said
    assert code == UNREACHABLE
    assert words.startswith("error: cannot ")
    assert "Google's API does not answer" in words
    assert "next: start it again in some minutes" in words
    assert "Traceback" not in words
    assert "upload_id=" not in words.replace("upload_id=…", "")


@pytest.mark.parametrize("kind", [*KINDS, "late"])
@pytest.mark.fault(25)
def test_a_bad_moment_is_waited_out(
    cloud: Cloud,
    models: ModelStore,
    folder: Path,
    publish: Publish,
    tmp_path: Path,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for method, path in WAYS:
        if kind == "late":  # what was given up takes effect all the same
            cloud.fault("latency", method=method, path=path, seconds=0.6, count=2)
        else:
            cloud.fault(kind, method=method, path=path, count=2)  # each file's, where both are sent at once
    if kind == "late":
        monkeypatch.setattr(cloud_storage, "ANSWER_SECONDS", 0.4)
        monkeypatch.setattr(resumable_upload, "ANSWER_SECONDS", 0.4)
    assert publish() == (OK, "")
    assert not cloud.world.faults
    assert_published_once(cloud, models, folder, tmp_path / "got")


@pytest.mark.parametrize(
    ("kind", "way"), [*zip(("lost_request", "unavailable", "rate_limit"), WAYS, strict=True)]
)
@pytest.mark.fault(25)
def test_a_bucket_that_stays_away_has_no_version_and_gets_it_later(
    cloud: Cloud,
    models: ModelStore,
    folder: Path,
    publish: Publish,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    way: tuple[str, str],
) -> None:
    cloud.fault(kind, method=way[0], path=way[1], count=None)
    monkeypatch.setattr(cloud_storage, "RETRY_SECONDS", 0.3)
    assert_told(publish())
    cloud.world.faults.clear()
    assert models.versions() == []
    assert publish() == (OK, "")
    assert_published_once(cloud, models, folder, tmp_path / "got")


@pytest.mark.fault(25)
def test_a_bucket_that_writes_and_never_says_so_gets_everything_once(
    cloud: Cloud,
    models: ModelStore,
    folder: Path,
    publish: Publish,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cloud_storage, "RETRY_SECONDS", 0.3)
    (folder / "weights.bin").write_bytes(os.urandom(100_000))  # in one go, as the manifest
    cloud.fault("lost_response", method="POST", path="/upload/*", count=None)
    assert_told(publish())
    assert models.versions() == [], "the files are there, the manifest is not"
    assert_told(publish())
    assert len(models.versions()) == 1, "it is, whatever the command could know of it"
    assert publish() == (OK, "")
    assert_published_once(cloud, models, folder, tmp_path / "got")
