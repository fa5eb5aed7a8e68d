"""Requests as a service's own access log tells them: uvicorn's, or any in the common log format."""

import re
from collections.abc import Iterable

from releases.edge_traffic import Tally
from releases.log_stream import Line

_REQUEST = re.compile(r'"[A-Z]+ \S+ HTTP/\d(?:\.\d)?" (?P<status>\d{3})\b')


def count(service: str, lines: Iterable[Line]) -> dict[int, Tally]:
    """Release → requests; how long they took no such line says."""
    found: dict[int, Tally] = {}
    for line in lines:
        match = _REQUEST.search(line.text)
        if match:
            tally = found.setdefault(line.release, Tally(service=service, release=line.release))
            tally.add(line.moment, int(match["status"]))
    return found
