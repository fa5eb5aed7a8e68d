"""Where a node gets models from."""

from pathlib import Path
from typing import Protocol

from agent.google.storage import Bucket
from releases.store import Moved, NotFound

BLOCK = 1 << 20


class ModelFiles(Protocol):
    """The two things that a node may do with the models of its environment."""

    def read(self, key: str) -> bytes:
        """A small object, such as a manifest. Raises NotFound."""

    def download(self, key: str, file: Path, moved: Moved) -> None:
        """To a file; what it holds is verified afterwards. Raises NotFound."""


class FolderFiles:
    """The local environment's bucket, mounted read-only."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, key: str) -> bytes:
        """A small object. Raises NotFound."""
        try:
            return (self.path / key).read_bytes()
        except FileNotFoundError as error:
            raise NotFound(f"there is no {key}") from error

    def download(self, key: str, file: Path, moved: Moved) -> None:
        """To a file. Raises NotFound."""
        try:
            with (self.path / key).open("rb") as source, file.open("wb") as target:
                while block := source.read(BLOCK):
                    target.write(block)
                    moved(len(block))
        except FileNotFoundError as error:
            raise NotFound(f"there is no {key}") from error


class BucketFiles:
    """The environment's bucket of models, read with the VM's own identity."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket

    def read(self, key: str) -> bytes:
        """A small object. Raises NotFound, GoogleError."""
        return self.bucket.read(key)[0]

    def download(self, key: str, file: Path, moved: Moved) -> None:
        """To a file. Raises NotFound, GoogleError."""
        self.bucket.download(key, file, moved)
