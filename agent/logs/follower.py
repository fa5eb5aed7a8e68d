"""Follows all of a node's service containers: one thread reads, one uploads."""

import threading
from collections.abc import Callable
from pathlib import Path

from agent.logs.cursor import Cursor, Cursors
from agent.logs.follow import Follower, Limits
from agent.logs.segment import Segments
from agent.logs.upload import Uploader, Uploads
from releases.log_segment import Origin

POLL_SECONDS = 0.25  # max-size * (max-file - 1) must be more than is written in this time
LOOK_SECONDS = 2.0
UPLOAD_SECONDS = 5.0
DRAIN_SECONDS = 30.0
MOST_BYTES = 1 << 30

Origins = Callable[[], dict[str, Origin]]


class LogFollower:
    """`containers` is the engine's folder of containers; `state` outlives the agent."""

    def __init__(
        self,
        containers: Path,
        state: Path,
        origins: Origins,
        store: Uploads,
        limits: Limits | None = None,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self.containers = containers
        self.origins = origins
        self.limits = limits or Limits()
        self.cursors = Cursors(state / "cursors")
        self.segments = Segments(state / "segments", most_bytes)
        self.uploader = Uploader(self.segments, store)
        self.followers: dict[str, Follower] = {}
        self.stop = threading.Event()
        self.wake = threading.Event()
        self.lock = threading.Lock()
        self.drains: dict[str, threading.Event] = {}
        self.looked_for: set[str] = set()  # drains that were asked for before the last look
        self.problem = ""  # with the engine
        self.broken = ""
        self.told = ""
        self.tell: Callable[[str], None] = lambda _: None
        self._go_on()

    def start(self) -> None:
        """Follow and upload in the background."""
        threading.Thread(target=self.run, name="log follower", daemon=True).start()
        uploads = {"target": self.uploader.run, "args": [self.stop, UPLOAD_SECONDS]}
        threading.Thread(name="log uploader", daemon=True, **uploads).start()  # type: ignore[arg-type]

    def run(self) -> None:
        """Until stopped. What fails is tried again: nothing is read past what is on disk."""
        until_look = 0.0
        while not self.stop.is_set():
            if until_look <= 0 or self.drains:
                self._try_to_look()
                until_look = LOOK_SECONDS
            more = self._try_to_poll()
            self._tell()
            if not more:
                self.wake.wait(POLL_SECONDS)
                self.wake.clear()
                until_look -= POLL_SECONDS

    def _try_to_poll(self) -> bool:
        """Whatever goes wrong is tried again later: without this thread no container is ever removed."""
        try:
            if self.broken:
                self._begin_again()
            more = self.poll()
            self.broken = ""
        except Exception as error:  # noqa: BLE001
            self.broken = f"log lines cannot be read: {type(error).__name__}: {error}"
            return False
        return more

    def _tell(self) -> None:
        """Whoever shows the node's status, whenever it is something else."""
        text = "; ".join(one for one in (self.problem, self.broken, self.uploader.problem) if one)
        if text != self.told:
            self.told = text
            self.tell(text)

    def _try_to_look(self) -> None:
        """While the engine does not answer, the known files stay open and are read on."""
        try:
            self.look()
            self.problem = ""
        except OSError as error:
            self.problem = str(error)

    def look(self) -> None:
        """Learn of new containers."""
        with self.lock:
            asked = set(self.drains)
        for container, origin in self.origins().items():
            if container not in self.followers:
                self._follow(Cursor(origin=origin))
        self.looked_for = asked

    def poll(self) -> bool:
        """Read what is new everywhere; True if there may be more at once."""
        more = False
        for container, follower in list(self.followers.items()):
            more = follower.poll() or more
            with self.lock:
                drained = self.drains.pop(container, None)
            if drained is not None:
                follower.drain()
                drained.set()
            if follower.gone:
                follower.close()
                self.cursors.forget(container)
                del self.followers[container]
        with self.lock:
            for unknown in self.looked_for & set(self.drains) - set(self.followers):
                self.drains.pop(unknown).set()
        return more

    def drain(self, container: str, seconds: float) -> bool:
        """Have the last lines of a stopped container in a segment; False if that took too long."""
        with self.lock:
            drained = self.drains.setdefault(container, threading.Event())
        self.wake.set()
        return drained.wait(seconds)

    def before_removal(self, container: str) -> None:
        """A stopped container may go once its last lines are in a segment. Raises OSError: not yet."""
        if not self.drain(container, DRAIN_SECONDS):
            raise OSError(f"the last lines of {container[:12]} are not in a segment yet: {self.told}")

    def _go_on(self) -> None:
        """Where the agent before this one was killed."""
        known = {cursor.origin.container: cursor for cursor in self.cursors.all()}
        for name in self.segments.names():
            if name.container in known:
                known[name.container].fold_in(name)
        for cursor in known.values():
            self.cursors.save(cursor)
            self._follow(cursor)

    def _follow(self, cursor: Cursor) -> None:
        container = cursor.origin.container
        folder = self.containers / container
        self.followers[container] = Follower(folder, cursor, self.cursors, self.segments, self.limits)

    def _begin_again(self) -> None:
        """A full disk, say: every follower goes back to what is on disk."""
        for follower in self.followers.values():
            follower.close()
        self.followers.clear()
        self.looked_for.clear()  # one without a cursor on disk is unknown until the next look
        self._go_on()
