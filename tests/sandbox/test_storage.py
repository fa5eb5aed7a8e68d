"""Cloud Storage, asked by Google's own client library."""

import base64
import io
from pathlib import Path
from typing import Any

import google_crc32c
import pytest
from google.api_core import exceptions
from google.cloud import storage
from google.oauth2.credentials import Credentials

from tests.sandbox.conftest import Cloud

READER = "serviceAccount:vm@sandbox.iam.gserviceaccount.com"


def client(cloud: Cloud, token: str = "") -> storage.Client:
    credentials = Credentials(token or cloud.at.token)
    options = {"api_endpoint": cloud.at.api}
    return storage.Client(project=cloud.project, credentials=credentials, client_options=options)


def bucket(cloud: Cloud, name: str = "models", **fields: Any) -> storage.Bucket:
    wanted = client(cloud).bucket(name)
    wanted.iam_configuration.uniform_bucket_level_access_enabled = True
    for field, value in fields.items():
        setattr(wanted, field, value)
    wanted.create(location="europe-west1")
    return wanted


def write(kept: storage.Bucket, name: str, data: bytes = b"data", **options: Any) -> storage.Blob:
    blob = kept.blob(name)
    blob.upload_from_string(data, **options)
    return blob


def reasons(error: pytest.ExceptionInfo[exceptions.GoogleAPICallError]) -> list[str]:
    return [one["reason"] for one in error.value.response.json()["error"]["errors"]]


def test_what_goes_up_comes_down_with_its_checksums(cloud: Cloud, tmp_path: Path) -> None:
    kept = bucket(cloud)
    blob = kept.blob("models/iris/v1/model.onnx")
    blob.metadata = {"trained": "today"}
    blob.cache_control = "no-cache"
    (tmp_path / "up").write_bytes(b"weights" * 1000)
    blob.upload_from_filename(tmp_path / "up", content_type="application/onnx", if_generation_match=0)
    again = kept.get_blob("models/iris/v1/model.onnx")
    again.download_to_filename(tmp_path / "down")
    assert (tmp_path / "down").read_bytes() == b"weights" * 1000
    crc = base64.b64encode(google_crc32c.value(b"weights" * 1000).to_bytes(4, "big")).decode()
    assert (again.crc32c, again.size, again.content_type) == (crc, 7000, "application/onnx")
    assert (again.metadata, again.cache_control) == ({"trained": "today"}, "no-cache")
    assert kept.blob("missing").exists() is False
    with pytest.raises(exceptions.NotFound):
        kept.blob("missing").download_as_bytes()


def test_big_files_go_up_in_pieces(cloud: Cloud) -> None:
    kept, data = bucket(cloud), bytes(range(256)) * 4096 * 3
    blob = kept.blob("big", chunk_size=1024 * 1024)
    blob.upload_from_file(io.BytesIO(data), size=len(data), if_generation_match=0)
    assert kept.blob("big").download_as_bytes() == data
    with pytest.raises(exceptions.PreconditionFailed):
        blob.upload_from_file(io.BytesIO(data), size=len(data), if_generation_match=0)
    unknown = kept.blob("stream", chunk_size=256 * 1024)
    with unknown.open("wb") as out:
        for start in range(0, len(data), 100_000):
            out.write(data[start : start + 100_000])
    assert kept.blob("stream").download_as_bytes() == data


def test_ranges(cloud: Cloud) -> None:
    blob = write(bucket(cloud), "a b/ü?#%2F", b"0123456789")
    assert blob.download_as_bytes(start=2, end=4) == b"234"
    assert blob.download_as_bytes(start=7) == b"789"
    with pytest.raises(exceptions.RequestRangeNotSatisfiable):
        blob.download_as_bytes(start=10)
    path = f"/storage/v1/b/models/o/{blob.path.rpartition('/')[2]}?alt=media"
    tail = cloud.call("GET", path, headers={"Range": "bytes=-3"})
    assert (tail.status_code, tail.content, tail.headers["content-range"]) == (206, b"789", "bytes 7-9/10")


def test_wrong_checksums_are_refused(cloud: Cloud) -> None:
    bucket(cloud)
    for sent in ("crc32c=AAAAAA==", "md5=1B2M2Y8AsgTpgAmY7PhCfg=="):
        path = "/upload/storage/v1/b/models/o?uploadType=media&name=x"
        answer = cloud.call("POST", path, content=b"data", headers={"X-Goog-Hash": sent})
        assert answer.status_code == 400
        assert "doesn't match" in answer.json()["error"]["message"]


def test_an_object_is_created_once(cloud: Cloud) -> None:
    kept = bucket(cloud)
    first = write(kept, "a", b"1", if_generation_match=0)
    with pytest.raises(exceptions.PreconditionFailed) as refused:
        write(kept, "a", b"2", if_generation_match=0)
    assert reasons(refused) == ["conditionNotMet"]
    assert kept.blob("a").download_as_bytes() == b"1"
    second = write(kept, "a", b"2", if_generation_match=first.generation)
    assert second.generation > first.generation
    with pytest.raises(exceptions.PreconditionFailed):
        kept.blob("a").delete(if_generation_match=first.generation)
    with pytest.raises(exceptions.PreconditionFailed):
        kept.blob("a").reload(if_generation_match=first.generation)
    second.metadata = {"a": "b"}
    second.patch(if_metageneration_match=1)
    assert second.metageneration == 2
    with pytest.raises(exceptions.PreconditionFailed):
        second.patch(if_metageneration_match=1)
    second.delete(if_generation_match=second.generation)
    assert write(kept, "a", b"3", if_generation_match=0).generation > second.generation


def test_a_lost_answer_was_a_write(cloud: Cloud) -> None:
    kept = bucket(cloud)
    cloud.fault("lost_response", method="POST", path="/upload/*")
    # The client tries again by itself and meets its own object.
    with pytest.raises(exceptions.PreconditionFailed):
        write(kept, "a", b"1", if_generation_match=0)
    assert kept.blob("a").download_as_bytes() == b"1"


def test_a_resumable_upload_survives_a_bad_connection(cloud: Cloud) -> None:
    kept, data = bucket(cloud), b"x" * 1024 * 1024
    cloud.fault("unavailable", method="PUT", path="/upload/*", count=2)
    cloud.fault("lost_response", method="PUT", path="/upload/*")
    blob = kept.blob("a", chunk_size=256 * 1024)
    blob.upload_from_file(io.BytesIO(data), if_generation_match=0)
    assert kept.blob("a").download_as_bytes() == data


def test_lists(cloud: Cloud) -> None:
    kept = bucket(cloud)
    for name in ("a/1", "a/2", "a/b/3", "c", "d/4"):
        write(kept, name)
    everything = client(cloud)
    assert [blob.name for blob in everything.list_blobs("models")] == ["a/1", "a/2", "a/b/3", "c", "d/4"]
    assert [blob.name for blob in everything.list_blobs("models", prefix="a/", page_size=1)] == [
        "a/1",
        "a/2",
        "a/b/3",
    ]
    found = everything.list_blobs("models", delimiter="/", page_size=1)
    assert ([blob.name for blob in found], found.prefixes) == (["c"], {"a/", "d/"})
    found = everything.list_blobs("models", prefix="a/", delimiter="/")
    assert ([blob.name for blob in found], found.prefixes) == (["a/1", "a/2"], {"a/b/"})
    assert [blob.name for blob in everything.list_blobs("models", start_offset="a/2", end_offset="c")] == [
        "a/2",
        "a/b/3",
    ]
    assert list(everything.list_blobs("models", prefix="nothing")) == []
    with pytest.raises(exceptions.MethodNotImplemented):
        list(everything.list_blobs("models", match_glob="**/3"))
    assert [one.name for one in everything.list_buckets()] == ["models"]


def test_versions_stay_until_deleted(cloud: Cloud) -> None:
    kept = bucket(cloud, versioning_enabled=True)
    first, second = write(kept, "a", b"1"), write(kept, "a", b"2")
    kept.blob("a").delete()
    assert not kept.blob("a").exists()
    versions = list(client(cloud).list_blobs("models", versions=True))
    assert [one.generation for one in versions] == [first.generation, second.generation]
    assert all(one.time_deleted for one in versions)
    assert kept.blob("a", generation=first.generation).download_as_bytes() == b"1"
    assert list(client(cloud).list_blobs("models")) == []
    write(kept, "a", b"3", if_generation_match=0)
    kept.blob("a", generation=first.generation).delete()
    with pytest.raises(exceptions.NotFound):
        kept.blob("a", generation=first.generation).download_as_bytes()


def test_retention_protects_and_a_locked_policy_stays(cloud: Cloud) -> None:
    kept = bucket(cloud, retention_period=3600)
    blob = write(kept, "a", b"1")
    blob.reload()
    assert (blob.retention_expiration_time - blob.time_created).total_seconds() == 3600
    for attempt in (lambda: write(kept, "a", b"2"), blob.delete):
        with pytest.raises(exceptions.Forbidden) as refused:
            attempt()
        assert reasons(refused) == ["retentionPolicyNotMet"]
    kept.reload()
    kept.lock_retention_policy()
    kept.retention_period = 60
    with pytest.raises(exceptions.Forbidden):
        kept.patch()
    cloud.pass_time(3601)
    blob.delete()
    assert not kept.blob("a").exists()


def test_holds_protect(cloud: Cloud) -> None:
    kept = bucket(cloud)
    for hold in ("temporary_hold", "event_based_hold"):
        blob = write(kept, hold)
        setattr(blob, hold, True)
        blob.patch()
        for attempt in (lambda name=hold: write(kept, name, b"2"), blob.delete):
            with pytest.raises(exceptions.Forbidden) as refused:
                attempt()
            assert reasons(refused) == ["objectUnderActiveHold"]
        setattr(blob, hold, False)
        blob.patch()
        blob.delete()


def test_settings_of_a_bucket_are_kept(cloud: Cloud) -> None:
    kept = bucket(cloud)
    kept.labels = {"env": "prod"}
    kept.add_lifecycle_delete_rule(age=30, matches_prefix=["logs/"])
    kept.soft_delete_policy.retention_duration_seconds = 30 * 24 * 3600
    kept.versioning_enabled = True
    kept.default_event_based_hold = True
    kept.patch()
    found = client(cloud).get_bucket("models")
    assert found.labels == {"env": "prod"}
    assert [rule["condition"] for rule in found.lifecycle_rules] == [{"age": 30, "matchesPrefix": ["logs/"]}]
    assert found.soft_delete_policy.retention_duration_seconds == 30 * 24 * 3600
    assert found.location == "EUROPE-WEST1"
    assert found.iam_configuration.uniform_bucket_level_access_enabled
    assert found.metageneration == 2
    assert write(found, "a").event_based_hold
    with pytest.raises(exceptions.Conflict):
        bucket(cloud)
    with pytest.raises(exceptions.Conflict, match="not empty"):
        found.delete()
    found.cors = [{"origin": ["*"]}]
    with pytest.raises(exceptions.MethodNotImplemented):
        found.patch()


@pytest.mark.parametrize(
    ("role", "may"),
    [
        ("roles/storage.objectViewer", {"get", "list"}),
        ("roles/storage.objectCreator", {"create"}),
        ("roles/storage.objectUser", {"get", "list", "create", "overwrite", "delete"}),
        ("roles/storage.admin", {"get", "list", "create", "overwrite", "delete"}),
        ("roles/viewer", set()),
    ],
)
def test_rights_are_enforced(cloud: Cloud, role: str, may: set[str]) -> None:
    kept = bucket(cloud)
    write(kept, "there", b"1")
    rights = kept.get_iam_policy(requested_policy_version=3)
    rights.bindings.append({"role": role, "members": [READER]})
    kept.set_iam_policy(rights)
    theirs = client(cloud, cloud.token(READER)).bucket("models")
    attempts = {
        "get": lambda: theirs.blob("there").download_as_bytes(),
        "list": lambda: list(theirs.list_blobs()),
        "create": lambda: write(theirs, "new", if_generation_match=0),
        "overwrite": lambda: write(theirs, "there", b"2"),
        "delete": lambda: theirs.blob("there").delete(),
    }
    for name, attempt in attempts.items():
        if name in may:
            attempt()
        else:
            with pytest.raises(exceptions.Forbidden, match=r"vm@sandbox.* does not have storage\."):
                attempt()


def test_a_right_may_be_bound_to_a_prefix(cloud: Cloud) -> None:
    kept = bucket(cloud)
    rights = kept.get_iam_policy(requested_policy_version=3)
    expression = 'resource.name.startsWith("projects/_/buckets/models/objects/logs/")'
    condition = {"title": "logs only", "expression": expression}
    rights.version = 3
    rights.bindings.append(
        {"role": "roles/storage.objectCreator", "members": [READER], "condition": condition}
    )
    kept.set_iam_policy(rights)
    theirs = client(cloud, cloud.token(READER)).bucket("models")
    write(theirs, "logs/1", if_generation_match=0)
    with pytest.raises(exceptions.Forbidden):
        write(theirs, "models/1", if_generation_match=0)
    with pytest.raises(exceptions.PreconditionFailed):
        kept.set_iam_policy(rights)  # its etag is of before
    fresh = kept.get_iam_policy(requested_policy_version=3)
    fresh.bindings.append(
        {**fresh.bindings[0], "condition": {"title": "t", "expression": "request.time < now"}}
    )
    with pytest.raises(exceptions.MethodNotImplemented):
        kept.set_iam_policy(fresh)


def test_a_copy(cloud: Cloud) -> None:
    kept, other = bucket(cloud), bucket(cloud, "other")
    blob = write(kept, "a", b"1", content_type="text/plain")
    copied = other.blob("b")
    copied.rewrite(blob, if_generation_match=0)
    assert other.get_blob("b").content_type == "text/plain"
    assert copied.download_as_bytes() == b"1"
    with pytest.raises(exceptions.PreconditionFailed):
        copied.rewrite(blob, if_generation_match=0)


def test_what_gcloud_sends_when_it_copies(cloud: Cloud) -> None:
    bucket(cloud)
    layout = cloud.call("GET", "/storage/v1/b/models/storageLayout").json()
    assert (layout["bucket"], layout["hierarchicalNamespace"]) == ("models", {"enabled": False})
    body = '--=1=\nContent-Type: application/json\n\n{"name": "a"}\n--=1=\nContent-Type: a/b\n\nweights\n\n--=1=--'
    kind = {"Content-Type": "multipart/related; boundary='=1='"}
    path = "/upload/storage/v1/b/models/o?uploadType=multipart"
    cloud.call("POST", path, content=body.encode(), headers=kind).raise_for_status()
    assert cloud.call("GET", "/storage/v1/b/models/o/a?alt=media").content == b"weights\n"
    listed = cloud.call("GET", "/storage/v1/b/models/o?includeFoldersAsPrefixes=true&delimiter=/").json()
    assert [one["name"] for one in listed["items"]] == ["a"]
