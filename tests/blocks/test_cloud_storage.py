"""Cloud Storage as a store where the sandbox's answers get lost, refused or late (FAULTS row 25)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from blocks.cloud_storage import CloudStorage
from releases.problem import Failed, Unreachable
from releases.store import AlreadyExists, Changed
from sandbox.server import running
from sandbox.world import World
from tests.blocks.buckets import cloud_store
from tests.sandbox.conftest import Cloud


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    world = World()
    with running(world) as at:
        yield Cloud(world, at)


@pytest.fixture
def store(cloud: Cloud, tmp_path: Path) -> CloudStorage:
    return cloud_store(cloud, tmp_path)


def generations(cloud: Cloud, key: str) -> int:
    """How often the object was written."""
    return len(cloud.world.buckets["kept"].objects.get(f"{key}", []))


@pytest.mark.parametrize("kind", ["lost_response", "lost_request", "unavailable", "rate_limit", "internal"])
@pytest.mark.fault(25)
def test_a_write_whose_answer_was_lost_is_one_object(
    cloud: Cloud, store: CloudStorage, tmp_path: Path, kind: str
) -> None:
    cloud.fault(kind, method="POST", path="/upload/*", count=2)
    store.create("a", b"one")
    cloud.fault(kind, method="POST", path="/upload/*")
    generation = store.replace("b", b"two", if_generation=0)
    (tmp_path / "f").write_bytes(b"weights" * 2_000_000)  # over 8 MiB: a resumable upload
    cloud.fault(kind, method="*", path="/upload/*", count=2)
    store.upload("c", tmp_path / "f")
    assert [generations(cloud, key) for key in "abc"] == [1, 1, 1]
    assert store.read("b") == (b"two", generation)
    assert store.read("a")[0] == b"one"


def test_the_same_bytes_of_another_writer_are_no_lock(cloud: Cloud, store: CloudStorage) -> None:
    generation = store.replace("lock", b"taken", if_generation=0)
    with pytest.raises(Changed) as changed:
        store.replace("lock", b"taken", if_generation=0)
    assert changed.value.got == str(generation)


def test_a_file_is_never_replaced_by_another(store: CloudStorage, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"one")
    (tmp_path / "g").write_bytes(b"two")
    store.upload("v1/f", tmp_path / "f")
    store.upload("v1/f", tmp_path / "f")
    with pytest.raises(AlreadyExists):
        store.upload("v1/f", tmp_path / "g")


def test_a_refusal_names_the_permission_and_how_to_give_it(
    cloud: Cloud, store: CloudStorage, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(cloud.token("serviceAccount:vm@sandbox.iam.gserviceaccount.com"))
    reader = cloud_store(cloud, tmp_path, make=False)
    with pytest.raises(Failed, match="the deployer may not") as refused:
        reader.create("a", b"")
    assert refused.value.expected == "the permission storage.objects.create"
    assert refused.value.next_step.startswith("gcloud storage buckets add-iam-policy-binding gs://kept")


def test_an_api_that_stays_away_is_said_in_the_end(
    cloud: Cloud, store: CloudStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blocks.cloud_storage.RETRY_SECONDS", 1.5)
    cloud.fault("unavailable", count=None)
    with pytest.raises(Unreachable, match="Google's API does not answer"):
        store.create("a", b"")


def test_without_credentials_it_says_how_to_get_some(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from releases.problem import BadInput

    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    with pytest.raises(BadInput, match="no credentials for Google Cloud"):
        CloudStorage(bucket="kept").create("a", b"")
