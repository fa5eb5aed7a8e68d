"""How long the releases of a service take side by side, since a candidate became ready. Only in memory."""

import threading
from collections import defaultdict
from datetime import datetime

from releases.edge_traffic import Tally

SHARE = 0.95


class AnswerTimes:
    """What `Traffic` hears, by service and release."""

    def __init__(self) -> None:
        self._tallies: dict[str, dict[int, Tally]] = defaultdict(dict)
        self._lock = threading.Lock()

    def anew(self, service: str) -> None:
        """Forget what was counted before."""
        with self._lock:
            self._tallies.pop(service, None)

    def add(self, service: str, release: int, at: datetime, status: int, milliseconds: int) -> None:
        """One more answer."""
        with self._lock:
            releases = self._tallies[service]
            releases.setdefault(release, Tally(service=service, release=release)).add(
                at, status, milliseconds
            )

    def p95(self, service: str, release: int) -> float:
        """In milliseconds, to 5 %; 0 where none is known."""
        with self._lock:
            tally = self._tallies.get(service, {}).get(release)
            return (tally.milliseconds(SHARE) if tally else None) or 0.0
