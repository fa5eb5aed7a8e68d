"""The node's own small client of Cloud Storage, with the token of a VM of the sandbox."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.google.api import Api
from agent.google.errors import GoogleError
from agent.google.metadata import MetadataServer
from agent.google.storage import Bucket
from releases.store import AlreadyExists, NotFound
from sandbox.server import running
from sandbox.world import Settings, World
from tests.sandbox.conftest import Cloud


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    world = World(Settings(pending_seconds=0.01, running_seconds=0.02))
    with running(world) as at:
        yield Cloud(world, at)


@pytest.fixture(scope="module")
def metadata(cloud: Cloud) -> MetadataServer:
    vm = cloud.vm(service_accounts=[{"email": "default"}])
    return MetadataServer(cloud.on(vm).removesuffix("/computeMetadata/v1"))


@pytest.fixture
def bucket(cloud: Cloud, metadata: MetadataServer, request: pytest.FixtureRequest) -> Iterator[Bucket]:
    name = f"bucket-{abs(hash(request.node.name)) % 10**9}"
    cloud.call("POST", f"/storage/v1/b?project={cloud.project}", json={"name": name}).raise_for_status()
    account = metadata.text("instance/service-accounts/default/email")
    binding = {"role": "roles/storage.objectAdmin", "members": [f"serviceAccount:{account}"]}
    cloud.call("PUT", f"/storage/v1/b/{name}/iam", json={"bindings": [binding]}).raise_for_status()
    yield Bucket(Api(metadata, cloud.at.api), name)
    cloud.call("DELETE", "/sandbox/faults")


def file(folder: Path, content: bytes, name: str = "file") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_what_goes_up_comes_down(bucket: Bucket, tmp_path: Path) -> None:
    content = bytes(range(256)) * 9000 + b"\r\n--"
    sha = hashlib.sha256(content).hexdigest()
    assert bucket.upload("a/b c/ü%2F.bin", file(tmp_path, content)) == sha
    assert bucket.download("a/b c/ü%2F.bin", tmp_path / "down") == sha
    assert (tmp_path / "down").read_bytes() == content
    assert bucket.read("a/b c/ü%2F.bin")[0] == content
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_an_empty_object_comes_down_empty(bucket: Bucket, tmp_path: Path) -> None:
    bucket.upload("nothing", file(tmp_path, b""))
    bucket.download("nothing", tmp_path / "down")
    assert (tmp_path / "down").read_bytes() == b""


def test_what_is_there_is_never_replaced(bucket: Bucket, tmp_path: Path) -> None:
    bucket.upload("key", file(tmp_path, b"first"))
    bucket.upload("key", file(tmp_path, b"first"))
    with pytest.raises(AlreadyExists):
        bucket.upload("key", file(tmp_path, b"other"))
    assert bucket.read("key")[0] == b"first"


def test_an_upload_whose_answer_was_lost_is_one_object(cloud: Cloud, bucket: Bucket, tmp_path: Path) -> None:
    cloud.fault("lost_response", method="POST", path="/upload/*")
    bucket.upload("key", file(tmp_path, b"content"))
    found = cloud.call("GET", f"/storage/v1/b/{bucket.name}/o?versions=true").json()["items"]
    assert len(found) == 1


@pytest.mark.parametrize("kind", ["unavailable", "rate_limit", "lost_request"])
def test_it_is_asked_again_while_the_api_is_away(
    cloud: Cloud, bucket: Bucket, tmp_path: Path, kind: str
) -> None:
    cloud.fault(kind, path="*/storage/*", count=2)
    bucket.upload("key", file(tmp_path, b"content"))
    assert bucket.read("key")[0] == b"content"


def test_a_token_that_has_expired_is_replaced(cloud: Cloud, bucket: Bucket, tmp_path: Path) -> None:
    bucket.upload("key", file(tmp_path, b"content"))
    before = bucket.api.metadata.token()
    cloud.pass_time(4000)
    assert bucket.read("key")[0] == b"content"
    assert bucket.api.metadata.token() != before


def test_what_may_not_be_done_is_said_at_once(cloud: Cloud, bucket: Bucket, tmp_path: Path) -> None:
    cloud.call("PUT", f"/storage/v1/b/{bucket.name}/iam", json={"bindings": []}).raise_for_status()
    with pytest.raises(GoogleError, match=r"HTTP 403 .*storage\.objects\.create"):
        bucket.upload("key", file(tmp_path, b"content"))


def test_missing_is_missing(bucket: Bucket, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        bucket.read("missing")
    with pytest.raises(NotFound):
        bucket.download("missing", tmp_path / "down")
    assert not (tmp_path / "down").exists()


def test_a_download_that_breaks_goes_on_where_it_broke(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = json.dumps(list(range(400_000))).encode()
    bucket.upload("key", file(tmp_path, content))
    asked = []
    whole = Bucket._from

    def breaking(self: Bucket, key: str, generation: str, start: int) -> Iterator[bytes]:
        asked.append(start)
        yield next(iter(whole(self, key, generation, start)))  # one piece, then the connection is gone

    monkeypatch.setattr(Bucket, "_from", breaking)
    assert bucket.download("key", tmp_path / "down") == hashlib.sha256(content).hexdigest()
    assert asked == [0, 1 << 20, 2 << 20]
