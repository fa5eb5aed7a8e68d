"""The desired state in a file of a folder that controllers and agent share."""

import time
from pathlib import Path

from agent.sources import Unreadable

POLL_SECONDS = 0.03


class DesiredFile:
    """Looked at again and again; read when it is another file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pause = 0.0
        self.known = (0, 0)
        self.document: bytes | None = None

    def next(self) -> bytes | None:
        """The file's content; None if there is none. Raises Unreadable."""
        time.sleep(self.pause)
        self.pause = POLL_SECONDS
        try:
            stat = self.path.stat()
            if (stat.st_ino, stat.st_mtime_ns) != self.known:
                self.document = self.path.read_bytes()
                self.known = (stat.st_ino, stat.st_mtime_ns)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unreadable(f"the desired state cannot be read: {error}") from error
        return self.document
