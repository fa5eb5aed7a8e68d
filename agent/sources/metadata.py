"""The desired state in the VM's metadata: one long poll after the other."""

import time
from collections.abc import Callable, Mapping

from agent.google.errors import GoogleError
from agent.google.metadata import MetadataServer
from agent.sources import Unreadable

WAIT_SECONDS = 60.0
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 10.0
QUIET_FAILURES = 4  # the metadata server's 503s are brief


class MetadataKey:
    """A change is heard within milliseconds; `also` is told all of the metadata then.

    The server's etag is made of the content, so a change that is taken back while nobody waits is never
    heard of: what counts is the generation in the document.
    """

    def __init__(
        self,
        server: MetadataServer,
        key: str,
        also: Callable[[Mapping[str, str]], None] = lambda _: None,
        wait: float = WAIT_SECONDS,
    ) -> None:
        self.server = server
        self.key = key
        self.also = also
        self.wait = wait
        self.etag = ""
        self.failures = 0
        self.document: bytes | None = None

    def next(self) -> bytes | None:
        """The key's value; None if there was never one. Raises Unreadable."""
        try:
            found = self.server.attributes(self.etag, self.wait)
        except GoogleError as error:
            return self._away(error)
        self.etag, self.failures = found.etag, 0
        self.also(found.values)
        if self.key in found.values:
            self.document = found.values[self.key].encode()
        elif self.document is not None:
            raise Unreadable(f"the metadata key {self.key} is gone; what it said last goes on")
        return self.document

    def _away(self, error: GoogleError) -> bytes | None:
        """Wait, ask without the etag the next time, and complain only if it lasts."""
        self.etag, self.failures = "", self.failures + 1
        time.sleep(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (self.failures - 1)))
        if self.document is None or self.failures > QUIET_FAILURES:
            raise Unreadable(f"the metadata server does not answer: {error}") from error
        return self.document
