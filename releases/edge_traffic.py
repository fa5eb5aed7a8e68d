"""What the edge has answered: requests, errors and response times of each release, hour by hour.

HAProxy keeps no percentiles, so it tells the agent of every answer; the agent counts, and once an hour writes
`logs/service=edge/environment=…/…`: a line for each service and release, whose text is a `Tally`.
"""

import math
from datetime import UTC, datetime

import orjson
from pydantic import BaseModel, ConfigDict, Field

from releases import log_export
from releases.log_segment import partition

EDGE = "edge"  # in the place of a service's name
COUNTS = f"{log_export.PARTS}service={EDGE}/"
SERVER_ERROR = 500
GROWTH = 1.05  # each step of the times is so much longer than the one before: how exact a percentile is


class Tally(BaseModel):
    """The requests of one release; release 0: no release has answered, but the edge itself."""

    model_config = ConfigDict(extra="ignore")

    service: str
    release: int
    requests: int = 0
    errors: int = 0
    first: datetime | None = None
    last: datetime | None = None
    times: dict[int, int] = Field(default_factory=dict, description="Step → requests; step 0: 1 ms or less.")

    @property
    def error_rate(self) -> float:
        """Of the requests, the share that the server failed."""
        return self.errors / self.requests if self.requests else 0.0

    @property
    def per_second(self) -> float:
        """Mean rate between the first and the last one."""
        if self.first is None or self.last is None:
            return 0.0
        return self.requests / max(1.0, (self.last - self.first).total_seconds())

    def add(self, at: datetime, status: int, milliseconds: int | None = None) -> None:
        """One more answer, and how long it took, if that is known."""
        self.requests += 1
        self.errors += status >= SERVER_ERROR
        self.first, self.last = min(self.first or at, at), max(self.last or at, at)
        if milliseconds is None:
            return
        step = math.ceil(math.log(max(1, milliseconds), GROWTH))
        self.times[step] = self.times.get(step, 0) + 1

    def add_all(self, other: "Tally") -> None:
        """Those of another hour or node."""
        self.requests += other.requests
        self.errors += other.errors
        self.first = min((one for one in (self.first, other.first) if one), default=None)
        self.last = max((one for one in (self.last, other.last) if one), default=None)
        for step, count in other.times.items():
            self.times[step] = self.times.get(step, 0) + count

    def milliseconds(self, share: float) -> float | None:
        """So long at most took this share of the requests, to 5 %. None where there were none."""
        left = math.ceil(share * sum(self.times.values()))
        for step in sorted(self.times):
            left -= self.times[step]
            if left <= 0:
                return GROWTH**step
        return None


def part_key(environment: str, node: str, hour: datetime) -> str:
    """One object for each node and hour."""
    return log_export.part_key(partition(EDGE, environment, hour), [EDGE, node, hour.isoformat()])


def exported(node: str, tally: Tally) -> bytes:
    """As a line among the exported ones."""
    time = (tally.first or datetime.min.replace(tzinfo=UTC)).astimezone(UTC)
    line = {
        "node": node,
        "container": EDGE,
        "release": tally.release,
        "model_version": "",
        "line": tally.model_dump_json(),
        "stream": EDGE,
        "time": f"{time:%Y-%m-%dT%H:%M:%S.%f}000Z",
    }
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
