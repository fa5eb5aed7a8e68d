"""A bounded stream of requests against a service on this machine, and what came of each."""

import http.client
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Result:
    """What came of the requests. Times in seconds."""

    latencies: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    releases: set[str] = field(default_factory=set)

    @property
    def total(self) -> int:
        """Requests sent."""
        return len(self.latencies) + len(self.failures)

    def percentile(self, per_cent: int) -> float:
        """Latency that so many per cent of the answered requests stayed under."""
        if len(self.latencies) < 2:  # noqa: PLR2004 - no quantiles of one
            return self.latencies[0] if self.latencies else float("nan")
        return statistics.quantiles(self.latencies, n=100)[per_cent - 1]


@dataclass(frozen=True)
class Request:
    """One request, sent again and again."""

    port: int
    method: str = "GET"
    path: str = "/"
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    timeout: float = 10.0
    host: str = "127.0.0.1"


@contextmanager
def running(
    request: Request, *, rate: float, senders: int = 8, keep_alive: bool = True, limit: float = 600
) -> Iterator[Result]:
    """Send `rate` requests a second while the block runs, at most `limit` seconds."""
    result, lock, stop = Result(), threading.Lock(), threading.Event()
    ends = time.monotonic() + limit

    def send() -> None:
        connection = None
        due = time.monotonic()
        while not stop.is_set() and time.monotonic() < ends:
            due += senders / rate
            connection = _one(request, connection, result, lock)
            if not keep_alive and connection is not None:
                connection.close()
                connection = None
            stop.wait(max(0.0, due - time.monotonic()))

    threads = [threading.Thread(target=send, daemon=True) for _ in range(senders)]
    for thread in threads:
        thread.start()
    try:
        yield result
    finally:
        stop.set()
        for thread in threads:
            thread.join(request.timeout + 5)


def _one(
    request: Request, connection: http.client.HTTPConnection | None, result: Result, lock: threading.Lock
) -> http.client.HTTPConnection | None:
    """Send once; the connection to go on with, or None."""
    started = time.monotonic()
    try:
        connection = connection or http.client.HTTPConnection(
            request.host, request.port, timeout=request.timeout
        )
        connection.request(request.method, request.path, request.body or None, dict(request.headers))
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException) as error:
        with lock:
            result.failures.append(f"{type(error).__name__}: {error}")
        return None
    with lock:
        if answer.status < 500:  # noqa: PLR2004 - the server's fault from there on
            result.latencies.append(time.monotonic() - started)
            result.releases.add(answer.headers.get("X-Model-Deploy-Release", ""))
        else:
            result.failures.append(f"HTTP {answer.status}")
    return None if answer.will_close else connection
