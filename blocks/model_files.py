"""The files of a model version: described here, brought to the store and back, each checked on the way."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from blocks.checksums import checksums_of
from blocks.model_folder import Source
from releases.model_manifest import LONG, Manifest, ModelFile, version_prefix
from releases.problem import BadInput, Failed
from releases.spec import Model
from releases.store import Moved, NotFound, Store, Stored, no_room_said

Seen = tuple[int, int]  # a file's size and when it was written


def last_seen(source: Source) -> Seen:
    """By which a change is noticed. Raises BadInput."""
    with _readable(source):
        found = source.file.stat()
    return found.st_size, found.st_mtime_ns


def described(source: Source, moved: Moved) -> ModelFile:
    """As the manifest records it: the file is read once. Raises BadInput."""
    with _readable(source):
        sums = checksums_of(source.file, moved)
    return ModelFile(path=source.path, size=sums.size, crc32c=sums.crc32c, sha256=sums.sha256)


@contextmanager
def _readable(source: Source) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BadInput(
            f"{source.path} cannot be read", where=str(source.file), got=error.strerror or str(error)
        ) from error


def upload_file(
    store: Store, wanted: Model, file: ModelFile, source: Source, seen: Seen, moved: Moved
) -> ModelFile:
    """Have the file in the store; what an earlier attempt has brought there is not sent again.

    Where that attempt has left other bytes, the file gets a longer key. Raises Failed.
    """
    for named in (file, file.model_copy(update={"digits": LONG})):
        key = f"{version_prefix(wanted.name, wanted.version)}{named.key_part}"
        expected = Stored(file.size, file.crc32c)
        try:
            there = store.stat(key)
        except NotFound:
            if last_seen(source) != seen or _sent(store, key, source, moved) != file.sha256:
                raise Failed(f"{file.path} changed while it was published", where=str(source.file)) from None
            there = store.stat(key)
        else:
            moved(file.size if there == expected else 0)
        if there == expected:
            return named
    raise Failed(
        f"{file.path} is not in the store as it is here",
        where=key,
        expected=f"{expected.size} bytes, CRC32C {expected.crc32c}",
        got=f"{there.size} bytes, CRC32C {there.crc32c}",
        next_step="publish it under another version",
    )


def _sent(store: Store, key: str, source: Source, moved: Moved) -> str:
    try:
        return store.upload(key, source.file, moved)
    except OSError as error:
        raise Failed(
            f"{source.path} could not be published", where=key, got=error.strerror or str(error)
        ) from error


def download_file(store: Store, manifest: Manifest, file: ModelFile, to: Path, moved: Moved) -> None:
    """Have the file here, verified; what is there already and right stays. Raises Failed."""
    with no_room_said(f"fetch {file.path}", str(to.parent)):
        to.parent.mkdir(parents=True, exist_ok=True)
    if to.is_file() and to.stat().st_size == file.size and checksums_of(to).sha256 == file.sha256:
        moved(file.size)
        return
    key = manifest.key_of(file)
    try:
        got = store.download(key, to, moved)
    except OSError as error:
        raise Failed(
            f"{file.path} could not be fetched", where=str(to), got=error.strerror or str(error)
        ) from error
    if got != file.sha256:
        to.unlink()
        raise Failed(
            f"{file.path} of {manifest.name} {manifest.version} is not what was published",
            where=key,
            expected=f"SHA-256 {file.sha256}",
            got=got,
        )
