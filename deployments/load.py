"""A bounded stream of requests while something happens, and how many of them failed."""

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

LIMIT_SECONDS = 300.0
PAUSE = 0.01


@dataclass
class Answers:
    """What came of the requests."""

    total: int = 0
    failures: list[str] = field(default_factory=list)


@contextmanager
def requests_to(port: int, path: str, body: bytes) -> Iterator[Answers]:
    """Send the request again and again from two threads, one keeping its connection, one not."""
    answers, stop = Answers(), threading.Event()
    ends = time.monotonic() + LIMIT_SECONDS

    def send(*, keep_alive: bool) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        while not stop.wait(PAUSE) and time.monotonic() < ends:
            answers.total += 1
            try:
                connection.request("POST", path, body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:  # noqa: PLR2004 - OK
                    answers.failures.append(f"HTTP {answer.status}")
            except (OSError, http.client.HTTPException) as error:
                answers.failures.append(f"{type(error).__name__}: {error}")
                connection.close()
            if not keep_alive:
                connection.close()

    threads = [threading.Thread(target=send, kwargs={"keep_alive": kind}) for kind in (True, False)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stop.set()
        for thread in threads:
            thread.join()
