"""Requests as a service's own access log tells them: uvicorn's, or any in the common log format."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

_REQUEST = re.compile(r'"[A-Z]+ \S+ HTTP/\d(?:\.\d)?" (?P<status>\d{3})\b')
_SECONDS = len("2026-11-24T01:02:03")
SERVER_ERROR = 500


@dataclass
class Traffic:
    """The requests of one release."""

    requests: int = 0
    errors: int = 0
    first: str = ""
    last: str = ""

    @property
    def error_rate(self) -> float:
        """Of the requests, the share that the server failed."""
        return self.errors / self.requests if self.requests else 0.0

    @property
    def per_second(self) -> float:
        """Mean rate between the first and the last one."""
        if not self.first:
            return 0.0
        begun, ended = (datetime.fromisoformat(time[:_SECONDS]) for time in (self.first, self.last))
        return self.requests / max(1.0, (ended - begun).total_seconds())

    def add(self, time: str, status: int) -> None:
        """One more request."""
        self.requests += 1
        self.errors += status >= SERVER_ERROR
        self.first = min(self.first or time, time)
        self.last = max(self.last, time)


def count(lines: Iterable[tuple[int, str, str]]) -> dict[int, Traffic]:
    """Release → requests, from (release, time, text) of every line."""
    found: dict[int, Traffic] = {}
    for release, time, text in lines:
        match = _REQUEST.search(text)
        if match:
            found.setdefault(release, Traffic()).add(time, int(match["status"]))
    return found
