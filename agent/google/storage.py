"""Cloud Storage by its JSON API, as far as a node needs it: read, create, never replace or delete.

https://cloud.google.com/storage/docs/json_api/v1/objects
"""

import base64
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from agent.google.api import Api
from agent.google.errors import NOT_FOUND, PRECONDITION_FAILED, GoogleError
from releases.store import AlreadyExists, Moved, NotFound, nobody

PIECE = 1 << 20
BROKEN_OFF = 20  # times that a download may break before it has failed; each goes on where the last ended


class Bucket:
    """The reading and creating parts of releases.store.Store."""

    def __init__(self, api: Api, name: str) -> None:
        self.api = api
        self.name = name

    def read(self, key: str) -> tuple[bytes, int]:
        """A small object's content and generation. Raises NotFound, GoogleError."""
        answer = self._get(key, {"alt": "media"})
        return answer.content, int(answer.headers["X-Goog-Generation"])

    def download(self, key: str, file: Path, moved: Moved = nobody) -> str:
        """To a file, whole or not at all; its SHA-256 in hex. Raises NotFound, GoogleError.

        A connection that breaks is taken up where it broke, on the same generation.
        """
        about = self._get(key, {"fields": "generation,size"}).json()
        generation, size = str(about["generation"]), int(about["size"])
        fresh, digest = file.with_name(f".{file.name}.part"), hashlib.sha256()
        with fresh.open("wb") as out:
            for _ in range(BROKEN_OFF):
                for piece in self._from(key, generation, out.tell()):
                    out.write(piece)
                    digest.update(piece)
                    moved(len(piece))
                if out.tell() >= size:
                    break
            out.flush()
            os.fsync(out.fileno())
        if fresh.stat().st_size != size:
            raise GoogleError(
                f"{key} broke off {BROKEN_OFF} times, at {fresh.stat().st_size} of {size} bytes"
            )
        fresh.replace(file)
        return digest.hexdigest()

    def upload(self, key: str, file: Path) -> str:
        """Create from a file that fits into memory; its SHA-256 in hex. Raises AlreadyExists, GoogleError.

        What is there already with the same content is what an answer that was lost has left.
        """
        data = file.read_bytes()
        checksum = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        kind, body = _multipart({"name": key, "md5Hash": checksum}, data)
        query = {"uploadType": "multipart", "ifGenerationMatch": "0", "fields": "generation"}
        try:
            path = f"/upload/storage/v1/b/{self.name}/o"
            self.api.call("POST", path, query, body, {"Content-Type": kind})
        except GoogleError as error:
            if error.status != PRECONDITION_FAILED:
                raise
            if not self._is_there(key, len(data), checksum):
                raise AlreadyExists(f"{key} is there already", where=f"gs://{self.name}") from error
        return hashlib.sha256(data).hexdigest()

    def _from(self, key: str, generation: str, start: int) -> Iterator[bytes]:
        """The object from a byte on, until the end or until the connection breaks."""
        query, range_ = {"alt": "media", "generation": generation}, {"Range": f"bytes={start}-"}
        with self._get(key, query, range_ if start else {}, stream=True) as answer:
            try:
                yield from answer.iter_content(PIECE)
            except requests.RequestException:
                return

    def _get(
        self, key: str, query: dict[str, str], headers: dict[str, str] | None = None, *, stream: bool = False
    ) -> requests.Response:
        path = f"/storage/v1/b/{self.name}/o/{quote(key, safe='')}"
        try:
            return self.api.call("GET", path, query, headers=headers, stream=stream)
        except GoogleError as error:
            if error.status == NOT_FOUND:
                raise NotFound(f"there is no {key}", where=f"gs://{self.name}") from error
            raise

    def _is_there(self, key: str, size: int, checksum: str) -> bool:
        """Whether the object has this content; False as well for one who may create and not read."""
        try:
            about = self._get(key, {"fields": "size,md5Hash"}).json()
        except (GoogleError, NotFound):
            return False
        return (int(about["size"]), about.get("md5Hash")) == (size, checksum)


def _multipart(about: dict[str, Any], data: bytes) -> tuple[str, bytes]:
    """Content type and body of an upload that says its checksum: other bytes are refused."""
    mark = secrets.token_hex(16)
    head = f"--{mark}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{json.dumps(about)}\r\n"
    head += f"--{mark}\r\nContent-Type: application/octet-stream\r\n\r\n"
    body = head.encode() + data + f"\r\n--{mark}--\r\n".encode()
    return f"multipart/related; boundary={mark}", body
