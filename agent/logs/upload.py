"""Finished segments go to the store, create-only, and are deleted here once they are there."""

import threading
from pathlib import Path
from typing import Protocol

from agent.logs.segment import Segments
from releases.log_segment import SEGMENTS
from releases.problem import Problem
from releases.store import AlreadyExists

FIRST_BACKOFF = 1.0
LONGEST_BACKOFF = 60.0
SHOWN = 400  # characters of a problem


class Uploads(Protocol):
    """The one thing of releases.store.Store that a node may do."""

    def upload(self, key: str, file: Path) -> str:
        """Create-only from a file. Raises AlreadyExists."""


class Uploader:
    """Goes through what is finished; whatever fails is tried again, and nothing is uploaded twice."""

    def __init__(self, segments: Segments, store: Uploads) -> None:
        self.segments = segments
        self.store = store
        self.problem = ""

    def round(self) -> int:
        """Upload everything that is finished now; how many it was. Raises Problem, OSError."""
        count = 0
        for path in self.segments.finished():
            key = SEGMENTS + path.relative_to(self.segments.done).as_posix()
            try:
                self.store.upload(key, path)
            except AlreadyExists:
                pass  # our own, its answer was lost: the name says which bytes it holds
            except FileNotFoundError:
                if path.exists():
                    raise
                continue  # dropped meanwhile for want of space
            self.segments.remove(path)
            count += 1
        return count

    def run(self, stop: threading.Event, every: float) -> None:
        """Upload until told to stop, less often while the store does not answer."""
        pause = every
        while not stop.wait(pause):
            try:
                self.round()
            except (Problem, OSError) as error:
                self.problem = f"log lines cannot be uploaded: {' '.join(str(error).split())}"[:SHOWN]
                pause = min(LONGEST_BACKOFF, max(FIRST_BACKOFF, pause * 2))
            else:
                self.problem, pause = "", every
