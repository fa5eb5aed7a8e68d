"""Cloud Storage as a store: create-only by precondition, retried without writing twice."""

import os
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from blocks import resumable_upload
from blocks.checksums import Checksums, Summed, crc32c_of_bytes
from blocks.google_api import GoogleApi, said_plainly
from blocks.resumable_upload import ANSWER_SECONDS, ResumableUpload, upload_large
from blocks.upload_session import upload_session
from releases.problem import Failed
from releases.store import AlreadyExists, Changed, Moved, NotFound, Stored, key_parts, no_room_said, nobody

RETRY_SECONDS = 180
KEPT = ("models/", "releases/")  # what never changes; a retention policy may hold it
WRITE = "model-deploy-write"  # which write an object comes from: recognised when its answer was lost
SLICE = 16 << 20  # of a download; each is in memory until it is written
SLICES_AT_ONCE = 4


class CloudStorage(GoogleApi):
    """Implements releases.store.Store on a bucket.

    Google's client sends a write again when no answer came, so every write has a precondition, and a 412
    may be the answer to the second sending of what the first has done: the object that is there tells.
    """

    _block_type_name = "Cloud Storage"
    _block_type_slug = "model-deploy-cloud-storage"

    type: Literal["cloud-storage"] = "cloud-storage"
    bucket: str
    data_bucket: str = Field("", description="For all but models and the ledger; the same one if empty.")
    project: str | None = None

    def create(self, key: str, data: bytes) -> None:
        """Write once; the same bytes again are fine. Raises AlreadyExists."""

        def send(blob: Any, given: dict[str, Any]) -> None:
            blob.upload_from_string(data, **given)

        self._create(key, len(data), lambda: crc32c_of_bytes(data), send)

    def stat(self, key: str) -> Stored:
        """Size and checksum. Raises NotFound."""
        with self._said("read", key):
            blob = self._blob(key)
            there = blob.bucket.get_blob(blob.name, retry=_retry(), timeout=ANSWER_SECONDS)
        if there is None:
            raise NotFound(f"there is no {key}", self._where(key))
        return Stored(int(there.size), str(there.crc32c))

    def upload(self, key: str, file: Path, moved: Moved = nobody) -> str:
        """Create-only from a file; returns its SHA-256. Raises AlreadyExists."""
        size = file.stat().st_size
        with file.open("rb") as opened:
            source = Summed(opened, moved)

            def send(blob: Any, given: dict[str, Any]) -> None:
                if size > resumable_upload.PIECE:
                    self._upload_large(blob, source, size, given)
                else:
                    blob.upload_from_file(source, size=size, **given)

            self._create(key, size, lambda: source.sums().crc32c, send)
            return source.sums().sha256

    def _upload_large(self, blob: Any, source: Summed, size: int, given: dict[str, Any]) -> None:
        """The object's name tells a model's content, so whoever sends under it sends the same."""
        with (
            self._authorized() as http,
            upload_session(self.endpoint or "", blob.bucket.name, blob.name, str(size)) as session,
        ):
            there = upload_large(
                ResumableUpload(http, session.address, source, size),
                session,
                lambda: str(blob.create_resumable_upload_session(size=size, **given)),
                given["retry"],
            )
        if there["crc32c"] != source.sums().crc32c:
            raise AlreadyExists(
                f"{blob.name} is there already, with other content", f"gs://{blob.bucket.name}"
            )

    def replace(self, key: str, data: bytes, if_generation: int) -> int:
        """Write if the generation is still this one. Raises Changed."""
        from google.api_core.exceptions import PreconditionFailed  # noqa: PLC0415

        mine = uuid.uuid4().hex
        with self._said("write", key):
            blob = self._blob(key)
            blob.metadata = {WRITE: mine}
            try:
                blob.upload_from_string(data, if_generation_match=if_generation, **_patient())
            except PreconditionFailed as error:
                there = blob.bucket.get_blob(blob.name, retry=_retry(), timeout=ANSWER_SECONDS)
                if there is None or (there.metadata or {}).get(WRITE) != mine:
                    now = there.generation if there else 0
                    raise Changed(
                        f"{key} has changed meanwhile", self._where(key), str(if_generation), str(now)
                    ) from error
                return int(there.generation)
            return int(blob.generation)

    def read(self, key: str) -> tuple[bytes, int]:
        """Content and generation, of one answer. Raises NotFound."""
        with self._said("read", key), self._found(key):
            blob = self._blob(key)
            data = blob.download_as_bytes(retry=_retry(), timeout=ANSWER_SECONDS)
            return bytes(data), int(blob.generation)

    def list(self, prefix: str) -> Iterator[str]:
        """Keys that start with the prefix, sorted."""
        with self._said("list", prefix):
            found = self._client.list_blobs(
                self._bucket_of(prefix),
                prefix=prefix,
                fields="items(name),nextPageToken",
                retry=_retry(),
                timeout=ANSWER_SECONDS,
            )
            for blob in found:
                yield blob.name

    def download(self, key: str, file: Path, moved: Moved = nobody) -> str:
        """To a file, whole or not at all; returns its SHA-256. Raises NotFound, Failed."""
        fresh = file.with_name(f".{file.name}.part")
        try:
            with (
                self._said("read", key),
                self._found(key),
                no_room_said(f"fetch {key}", str(file.parent)),
            ):
                blob = self._blob(key)
                blob.reload(retry=_retry(), timeout=ANSWER_SECONDS)
                sums = self._download_slices(blob, fresh, moved)
            if sums.crc32c != blob.crc32c:
                raise Failed(
                    f"{key} did not arrive as it is",
                    self._where(key),
                    f"CRC32C {blob.crc32c}",
                    f"CRC32C {sums.crc32c}",
                )
            fresh.replace(file)
        finally:
            fresh.unlink(missing_ok=True)
        return sums.sha256

    def _download_slices(self, blob: Any, fresh: Path, moved: Moved) -> Checksums:
        """Slices of one generation, several at a time, summed up while the next ones come."""
        with (
            fresh.open("wb") as opened,
            fresh.open("rb", buffering=0) as written_so_far,  # a buffer would hold what was not there yet
            ThreadPoolExecutor(SLICES_AT_ONCE) as pool,
        ):
            opened.truncate(blob.size)
            summed = Summed(written_so_far)

            def fetch(start: int) -> None:
                data = blob.download_as_bytes(
                    start=start,
                    end=min(start + SLICE, blob.size) - 1,
                    if_generation_match=blob.generation,
                    single_shot_download=True,  # not in pieces of 8 KB
                    checksum=None,  # Cloud Storage knows the whole object's; it is checked at the end
                    retry=_retry(),
                    timeout=ANSWER_SECONDS,
                )
                written = 0
                while written < len(data):  # a disk that gets full takes a part first
                    written += os.pwrite(opened.fileno(), data[written:], start + written)
                moved(len(data))

            slices = [pool.submit(fetch, start) for start in range(0, blob.size, SLICE)]
            try:
                for number, each in enumerate(slices, start=1):
                    each.result()
                    summed.reach(min(number * SLICE, blob.size))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
            return summed.sums()

    def address(self, key: str) -> str:
        """Where a person who may read the bucket finds it."""
        return f"https://storage.cloud.google.com/{self._bucket_of(key)}/{key}"

    def remove(self, key: str) -> None:
        """Take away; what is gone already is fine."""
        from google.api_core.exceptions import NotFound as NoSuchObject  # noqa: PLC0415

        with self._said("delete", key):
            try:
                self._blob(key).delete(retry=_retry(), timeout=ANSWER_SECONDS)
            except NoSuchObject:
                return

    def _create(
        self, key: str, size: int, crc32c: Callable[[], str], send: Callable[[Any, dict[str, Any]], None]
    ) -> None:
        from google.api_core.exceptions import PreconditionFailed  # noqa: PLC0415

        with self._said("write", key):
            blob = self._blob(key)
            try:
                send(blob, {"if_generation_match": 0, **_patient()})
            except PreconditionFailed as error:
                there = blob.bucket.get_blob(blob.name, retry=_retry(), timeout=ANSWER_SECONDS)
                if there is None or (there.size, there.crc32c) != (size, crc32c()):
                    raise AlreadyExists(
                        f"{key} is there already, with other content", self._where(key)
                    ) from error

    @cached_property
    def _client(self) -> Any:
        from google.cloud import storage  # type: ignore[attr-defined]  # noqa: PLC0415 - cloud environments only

        return storage.Client(
            project=self.project or "none",  # objects need no project
            credentials=self.google_credentials,
            client_options=self.client_options,
        )

    def _authorized(self) -> Any:
        from google.auth.transport.requests import AuthorizedSession  # noqa: PLC0415 - slow to import

        session: Any = AuthorizedSession
        return session(self.google_credentials)

    def _bucket_of(self, key: str) -> str:
        return self.bucket if key.startswith(KEPT) or not self.data_bucket else self.data_bucket

    def _where(self, key: str) -> str:
        return f"gs://{self._bucket_of(key)}"

    def _blob(self, key: str) -> Any:
        return self._client.bucket(self._bucket_of(key)).blob("/".join(key_parts(key)))

    @contextmanager
    def _said(self, doing: str, key: str) -> Iterator[None]:
        with said_plainly(
            f"{doing} {key or 'objects'}",
            self._where(key),
            f"gcloud storage buckets add-iam-policy-binding {self._where(key)} "
            "--member=MEMBER --role=roles/storage.objectUser",
        ):
            yield

    @contextmanager
    def _found(self, key: str) -> Iterator[None]:
        from google.api_core.exceptions import NotFound as NoSuchObject  # noqa: PLC0415

        try:
            yield
        except NoSuchObject as error:
            raise NotFound(f"there is no {key}", self._where(key)) from error


def _retry() -> Any:
    from google.cloud.storage.retry import DEFAULT_RETRY  # noqa: PLC0415

    return DEFAULT_RETRY.with_delay(initial=0.2, maximum=8.0).with_timeout(RETRY_SECONDS)


def _patient() -> dict[str, Any]:
    """For every upload: checked on the way, sent again within a limit."""
    return {"checksum": "crc32c", "retry": _retry(), "timeout": ANSWER_SECONDS}
