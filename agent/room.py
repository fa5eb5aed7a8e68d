"""A full disk: a ballast is given up so that the agent's own small files still fit."""

import errno
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

BALLAST_BYTES = 4 << 20
LAY_EVERY = 60.0  # seconds


def is_full(error: OSError) -> bool:
    """Whether it says that there is no room left."""
    return error.errno == errno.ENOSPC


class Room:
    """The ballast; `retired` removes what nobody needs, and says how much went."""

    def __init__(self, ballast: Path) -> None:
        self.ballast = ballast
        self.retired: Callable[[], int] = lambda: 0
        self.tried = float("-inf")

    def give_up(self) -> int:
        """Let go of the ballast; 0 if it was gone already."""
        there = self.ballast.exists()
        self.ballast.unlink(missing_ok=True)
        return int(there)

    def make(self) -> int:
        """Let go of all that can go."""
        return self.give_up() + self.retired()

    def lay(self) -> None:
        """Have the ballast there again, once there is room for it; tried now and then."""
        if self.ballast.exists() or time.monotonic() - self.tried < LAY_EVERY:
            return
        self.tried = time.monotonic()
        fresh = self.ballast.with_suffix(".laying")
        try:
            fresh.write_bytes(b"\1" * BALLAST_BYTES)  # zeros might be kept as a hole
            fresh.replace(self.ballast)
        except OSError:
            with suppress(OSError):
                fresh.unlink(missing_ok=True)


def write_with_room(write: Callable[[], None], make_room: Callable[[], int]) -> None:
    """Write; with the disk full, once more after making room. Raises OSError."""
    try:
        write()
    except OSError as error:
        if not is_full(error):
            raise
        make_room()
        write()
