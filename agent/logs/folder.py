"""The local environment's bucket as a node sees it: a folder in which it may create, no more."""

import os
import shutil
import tempfile
from pathlib import Path

from releases.on_disk import sync
from releases.store import AlreadyExists


class Folder:
    """Create-only: a link never replaces what is there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def upload(self, key: str, file: Path) -> str:
        """Create from a file. Raises AlreadyExists; whether the content is the same is not asked."""
        path = self.path / key
        self._make(path.parent)
        handle, fresh = tempfile.mkstemp(prefix=".new-", dir=path.parent)
        os.close(handle)
        try:
            shutil.copyfile(file, fresh)
            _give(Path(fresh), path.parent)
            sync(Path(fresh))
            os.link(fresh, path)
            sync(path.parent)  # before the original is deleted
        except FileExistsError as error:
            raise AlreadyExists(f"{key} is there already", where=str(self.path)) from error
        finally:
            Path(fresh).unlink()
        return ""

    def _make(self, folder: Path) -> None:
        """The person whose bucket it is can tidy up, though the agent is root."""
        if not folder.exists():
            self._make(folder.parent)
            folder.mkdir(exist_ok=True)
            _give(folder, folder.parent)
            sync(folder.parent)


def _give(path: Path, like: Path) -> None:
    owner = like.stat()
    os.chown(path, owner.st_uid, owner.st_gid)
