"""The local environment's bucket as a node sees it: a folder in which it may create, no more."""

import os
import shutil
import tempfile
from pathlib import Path

from releases.store import AlreadyExists


class Folder:
    """Create-only: a link never replaces what is there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def upload(self, key: str, file: Path) -> str:
        """Create from a file. Raises AlreadyExists; whether the content is the same is not asked."""
        path = self.path / key
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, fresh = tempfile.mkstemp(prefix=".new-", dir=path.parent)
        os.close(handle)
        try:
            shutil.copyfile(file, fresh)
            os.link(fresh, path)
        except FileExistsError as error:
            raise AlreadyExists(f"{key} is there already", where=str(self.path)) from error
        finally:
            Path(fresh).unlink()
        return ""
