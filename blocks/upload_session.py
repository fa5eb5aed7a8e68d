"""What a later process needs to go on with an upload that this one does not finish."""

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from blocks.home_folder import home_folder

WEEK = 7 * 24 * 3600  # seconds; then Google forgets: https://cloud.google.com/storage/docs/resumable-uploads


class UploadSession:
    """The address of an upload under way, kept in a file. Who knows it may write the object: mode 0600."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self.address = _written_in(path) if path else ""

    def keep(self, address: str) -> None:
        """Remember where it goes on."""
        self.address = address
        if self._path:
            with suppress(OSError):  # no room: the upload itself needs none
                self._path.write_text(f"{address}\n", encoding="ascii")

    def forget(self) -> None:
        """It is finished, or cannot be gone on with."""
        self.address = ""


@contextmanager
def upload_session(*of: str) -> Iterator[UploadSession]:
    """The session of an upload that these words tell from any other; one process at a time has it.

    Whoever comes meanwhile, or has no home to write to, gets one that nobody remembers.
    """
    folder = home_folder() / "uploads"
    path = folder / hashlib.sha256("\n".join(of).encode()).hexdigest()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _tidy(folder)
        held = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        yield UploadSession()
        return
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        yield UploadSession()
    else:
        session = UploadSession(path)
        try:
            yield session
        finally:
            if not session.address:
                path.unlink(missing_ok=True)
    finally:
        os.close(held)


def _written_in(path: Path) -> str:
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""
    return text.strip() if text.endswith("\n") else ""  # else it was killed while it wrote


def _tidy(folder: Path) -> None:
    """Away with those that Google has forgotten."""
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > WEEK:
                path.unlink()
