"""A large file whose sender dies half-way: whoever sends it again goes on there."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from blocks import resumable_upload
from blocks.cloud_storage import CloudStorage
from blocks.model_folder import sources_in
from blocks.model_store import ModelStore
from blocks.upload_session import WEEK
from deployments.machine.home import free_ports
from releases.problem import Unreachable
from releases.spec import Model
from sandbox.server import running
from sandbox.world import World
from tests.blocks.buckets import cloud_store
from tests.killing import PROCESSES
from tests.sandbox.conftest import Cloud

PIECE = 256 << 10
SIZE = 10 * PIECE + 1000
V1 = Model(name="iris", version="v1")


@dataclass
class Scales:
    """Weighs what is sent to the sandbox."""

    app: Any
    pieces: list[int] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["method"] == "PUT":
            self.pieces.append(int(dict(scope["headers"]).get(b"content-length", b"0")))
        await self.app(scope, receive, send)


@dataclass
class Bucket:
    cloud: Cloud
    scales: Scales
    store: CloudStorage
    home: Path

    def sent(self) -> int:
        """Bytes since it was last asked."""
        total = sum(self.scales.pieces)
        self.scales.pieces.clear()
        return total

    def sessions(self) -> list[Path]:
        return sorted((self.home / "uploads").iterdir())

    def half_sent(self, file: Path) -> None:
        """As an interrupt leaves it."""
        with pytest.raises(KeyboardInterrupt):
            self.store.upload("w", file, stopping(SIZE // 2, interrupted))


def interrupted() -> None:
    """No signal: who runs the tests in the background has those of the keyboard ignored."""
    raise KeyboardInterrupt


def stopping(after: int, stop: Callable[[], None]) -> Callable[[int], None]:
    moved = 0

    def told(size: int) -> None:
        nonlocal moved
        moved += size
        if moved > after:
            stop()

    return told


@pytest.fixture(scope="module")
def running_bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cloud, Scales, CloudStorage]]:
    world, made = World(), []

    def wrap(app: Any) -> Any:
        made.append(Scales(app))
        return made[0]

    with running(world, wrap=wrap) as at:
        cloud = Cloud(world, at)
        yield cloud, made[0], cloud_store(cloud, tmp_path_factory.mktemp("bucket"))


@pytest.fixture
def bucket(running_bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    cloud, scales, store = running_bucket
    monkeypatch.setenv("MODEL_DEPLOY_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(resumable_upload, "PIECE", PIECE)
    cloud.world.buckets["kept"].objects.clear()
    cloud.world.uploads.clear()
    scales.pieces.clear()
    return Bucket(cloud, scales, store, tmp_path / "home")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights.bin"
    path.write_bytes(os.urandom(SIZE))
    return path


class Watched:
    def __init__(self, moved: Callable[[int], None]) -> None:
        self.moved = moved
        self.total = 0

    def begin(self, doing: str, total: int) -> None:
        self.total = total


def publish_and_die(store: CloudStorage, file: Path, home: Path) -> None:
    """With the file described and 80 % of it read for sending."""
    os.environ["MODEL_DEPLOY_HOME"] = str(home)
    resumable_upload.PIECE = PIECE
    dying = Watched(stopping(SIZE + SIZE * 8 // 10, lambda: os.kill(os.getpid(), signal.SIGKILL)))
    ModelStore(store).publish(V1, sources_in(file), dying)


def test_a_publish_that_was_killed_goes_on_where_it_was(
    bucket: Bucket, weights: Path, tmp_path: Path
) -> None:
    process = PROCESSES.Process(target=publish_and_die, args=[bucket.store, weights, bucket.home])
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    models = ModelStore(bucket.store)
    assert models.versions() == []
    (session,) = bucket.sessions()
    assert (session.stat().st_mode & 0o777, session.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    before, moved = bucket.sent(), []
    progress = Watched(moved.append)
    made = models.publish(V1, sources_in(weights), progress)
    assert before >= SIZE * 7 // 10
    assert before + bucket.sent() <= SIZE + PIECE
    assert sum(moved) == progress.total == 2 * SIZE
    models.download_whole(made, tmp_path / "got", Watched(moved.append))
    assert (tmp_path / "got/weights.bin").read_bytes() == weights.read_bytes()
    assert bucket.sessions() == []


def test_a_session_older_than_google_keeps_one_is_not_used(bucket: Bucket, weights: Path) -> None:
    bucket.half_sent(weights)
    (session,) = bucket.sessions()
    aged = time.time() - WEEK - 1
    os.utime(session, (aged, aged))
    bucket.sent()
    bucket.store.upload("w", weights)
    assert bucket.sent() == SIZE
    assert bucket.store.read("w")[0] == weights.read_bytes()


def test_a_session_that_google_has_forgotten_is_begun_anew(bucket: Bucket, weights: Path) -> None:
    bucket.half_sent(weights)
    bucket.cloud.world.uploads.clear()
    bucket.store.upload("w", weights)
    assert bucket.store.read("w")[0] == weights.read_bytes()
    assert bucket.sessions() == []


def test_half_of_another_file_never_becomes_part_of_this_one(
    bucket: Bucket, weights: Path, tmp_path: Path
) -> None:
    bucket.half_sent(weights)
    (tmp_path / "other").write_bytes(os.urandom(SIZE))
    bucket.store.upload("w", tmp_path / "other")
    assert bucket.store.read("w")[0] == (tmp_path / "other").read_bytes()


def test_two_at_once_send_the_same_object_each_by_a_session_of_its_own(bucket: Bucket, weights: Path) -> None:
    both: list[str] = []

    def meanwhile() -> None:
        if not both:
            both.append("begun")
            both.append(bucket.store.upload("w", weights))

    assert bucket.store.upload("w", weights, stopping(SIZE // 2, meanwhile)) == both[1]
    assert len(bucket.cloud.world.uploads) == 2
    assert bucket.store.read("w")[0] == weights.read_bytes()
    assert bucket.sessions() == []


def test_without_a_network_it_is_said_without_the_session_and_goes_on_later(
    bucket: Bucket, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blocks.cloud_storage.RETRY_SECONDS", 0.5)
    bucket.half_sent(weights)
    (session,) = bucket.sessions()
    address, (number,) = session.read_text(), bucket.cloud.world.uploads
    session.write_text(address.replace(bucket.cloud.at.api, f"http://127.0.0.1:{free_ports(1)[0]}"))
    with pytest.raises(Unreachable) as caught:
        bucket.store.upload("w", weights)
    assert "ConnectionError" in caught.value.got
    assert number not in caught.value.got
    session.write_text(address)
    bucket.sent()
    bucket.store.upload("w", weights)
    assert bucket.sent() < SIZE * 6 // 10
    assert bucket.store.read("w")[0] == weights.read_bytes()


@pytest.mark.parametrize("kind", ["lost_response", "lost_request", "unavailable", "rate_limit", "internal"])
@pytest.mark.fault(25)
def test_a_piece_whose_answer_was_lost_is_asked_for_and_not_sent_again(
    bucket: Bucket, weights: Path, kind: str
) -> None:
    bucket.cloud.fault(kind, method="PUT", path="/upload/*", count=2)
    bucket.store.upload("w", weights)
    assert bucket.sent() <= SIZE + PIECE
    assert len(bucket.cloud.world.buckets["kept"].objects["w"]) == 1
    assert bucket.store.read("w")[0] == weights.read_bytes()
