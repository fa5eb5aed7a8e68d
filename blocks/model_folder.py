"""A folder of model files on this machine, looked through before anything is published."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from releases.model_manifest import what_is_wrong_with
from releases.problem import BadInput

COPY = "publish a copy in which links are files: cp -rL"


@dataclass(frozen=True)
class Source:
    """One file to publish. `path` is what it is called in the version."""

    path: str
    file: Path
    size: int


def sources_in(root: Path) -> list[Source]:
    """Every file of the folder, or the one file, sorted by path. Raises BadInput."""
    try:
        found = sorted(_walk(root), key=lambda source: source.path)
    except OSError as error:
        raise BadInput(
            "the model cannot be read", where=str(root), got=error.strerror or str(error)
        ) from error
    if not found:
        raise BadInput("the folder is empty: there is no model in it", where=str(root))
    return found


def _walk(root: Path) -> Iterator[Source]:
    if not root.exists():
        raise BadInput("there is no such file or folder", where=str(root))
    if root.is_file():
        yield _source(root.name, root, root.resolve().parent)
        return
    inside = root.resolve()
    for folder, below, names in os.walk(root, onerror=_raise):
        for name in below:
            if (Path(folder) / name).is_symlink():
                raise BadInput("a link to a folder is not followed", where=f"{folder}/{name}", next_step=COPY)
        for name in names:
            file = Path(folder) / name
            yield _source(file.relative_to(root).as_posix(), file, inside)


def _source(path: str, file: Path, inside: Path) -> Source:
    wrong = what_is_wrong_with(path)
    if wrong:
        raise BadInput(f"{path!r} cannot be published: {wrong}", where=str(inside))
    if file.is_symlink() and not file.resolve().is_relative_to(inside):
        raise BadInput(
            f"{path} is a link out of the folder", where=str(file), got=str(file.readlink()), next_step=COPY
        )
    found = file.stat()  # a link into nowhere ends here
    if not stat.S_ISREG(found.st_mode):
        raise BadInput(f"{path} is no file", where=str(file), expected="files and folders")
    return Source(path, file, found.st_size)


def _raise(error: OSError) -> None:
    raise error
