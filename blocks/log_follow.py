"""A service's containers followed as one stream, with those that a release starts meanwhile."""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from blocks.log_reader import NO_ANSWER, following_lines
from releases.log_stream import Line

LOOK_SECONDS = 1.0
GONE_SECONDS = 60.0  # a release that stops the old container before it starts the new one is through by then
WAITING = 1000  # lines that a slow terminal has not taken

Containers = Callable[[], list[tuple[Any, int]]]


@dataclass
class _Followed:
    """One container; started again, for example by a rollback, it goes on after what was `printed`."""

    since: datetime
    printed: list[Line]  # since then
    started: str = ""
    thread: threading.Thread = field(default_factory=threading.Thread)


class LogFollow:
    """What the containers print from `since` on, as it comes, without what was `shown` already."""

    def __init__(self, containers: Containers, since: datetime, shown: Iterable[Line]) -> None:
        self.containers = containers
        self.since = since
        self.shown = list(shown)
        self.followed: dict[str, _Followed] = {}
        self.came: queue.Queue[Line] = queue.Queue(WAITING)

    def lines(self) -> Iterator[Line]:
        """Until none of the containers has run for a minute."""
        looked, lived = float("-inf"), time.monotonic()
        while True:
            if time.monotonic() - looked >= LOOK_SECONDS:
                self._look()
                looked = time.monotonic()
            if any(one.thread.is_alive() for one in self.followed.values()):
                lived = time.monotonic()
            try:
                line = self.came.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                if time.monotonic() - lived >= GONE_SECONDS:
                    return
                continue
            yield line

    def _look(self) -> None:
        """Begin with what was started since the last look."""
        for container, release in self.containers():
            started = container.attrs["State"]["StartedAt"]
            one = self.followed.get(container.id)
            if one is None:
                shown = [line for line in self.shown if container.id.startswith(line.container)]
                one = self.followed[container.id] = _Followed(self.since, shown)
            if one.started != started and not one.thread.is_alive():
                one.started = started
                one.thread = threading.Thread(target=self._read, args=(container, release, one), daemon=True)
                one.thread.start()

    def _read(self, container: Any, release: int, one: _Followed) -> None:
        printed = {(line.time, line.text) for line in one.printed}
        try:
            for line in following_lines(container, one.since, release, printed):
                if line.moment > one.since:
                    one.since = line.moment
                    one.printed = [other for other in one.printed if other.moment >= line.moment]
                one.printed.append(line)
                self.came.put(line)
        except NO_ANSWER:
            one.started = ""  # removed, or the engine is not there: the next look tells
