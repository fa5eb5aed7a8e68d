"""An environment's secrets, read and written beside the controller; nodes read them by themselves."""

import os
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Protocol

from releases.problem import Failed


class Secrets(Protocol):
    """Values never appear in what is raised, logged or returned to Prefect."""

    def read(self, name: str) -> str | None:
        """The latest version; None where there is none yet. Raises Problem."""

    def add(self, name: str, value: str) -> None:
        """Write a new version, which is the latest from now on. Raises Problem."""

    def once(self, name: str, value: str) -> str:
        """Write the first version unless there is one; the first one's value. Raises Problem."""

    def destroy_old(self, name: str, spare: Collection[str], useless: Callable[[str], bool]) -> int:
        """Versions before the latest that are not spared and of no use; how many. Raises Problem."""


class SecretFiles:
    """A folder of files of mode 0600, each replaced as a whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, name: str) -> str | None:
        """The file's content. Raises Failed."""
        try:
            return self._path(name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Failed(f"the secret {name!r} cannot be read", str(self.folder), got=str(error)) from error

    def add(self, name: str, value: str) -> None:
        """Replace the file. Raises Failed."""
        fresh = self._fresh(name, value)
        fresh.replace(self._path(name))

    def once(self, name: str, value: str) -> str:
        """A link never replaces what is there. Raises Failed."""
        fresh = self._fresh(name, value)
        try:
            os.link(fresh, self._path(name))
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
        return self._path(name).read_text(encoding="utf-8")

    def destroy_old(self, name: str, spare: Collection[str], useless: Callable[[str], bool]) -> int:  # noqa: ARG002 - as the protocol says
        """A file has one version."""
        return 0

    def _path(self, name: str) -> Path:
        return self.folder / name

    def _fresh(self, name: str, value: str) -> Path:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, path = tempfile.mkstemp(prefix=f".{name}-", dir=self.folder)  # mode 0600
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(value)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            where = str(self.folder)
            raise Failed(f"the secret {name!r} cannot be written", where, got=str(error)) from error
        return Path(path)
