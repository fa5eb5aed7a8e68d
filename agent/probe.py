"""Is the container ready? Asked directly: Docker's own HEALTHCHECK adds over a second."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

from agent.failure import Interrupted, StepFailed
from releases.release import Release
from releases.spec import Warmup
from releases.status import Phase

INTERVAL = 0.03
WARMUP_INTERVAL = 0.2  # a request that was given up may still be computed
ANSWER_SECONDS = 2.0
CONNECT_SECONDS = 0.3  # on the node's own bridge; a container that is gone answers nothing at all
ASK_ENGINE_EVERY = 0.25
BODY_SHOWN = 200
MAY_PASS = (408, 425, 429)  # the client's errors by number, the server's by nature


@dataclass(frozen=True)
class _Answer:
    """What the container said to one request; `hopeless`: asking again would not help."""

    ready: bool
    said: str = ""
    hopeless: bool = False


def wait_until_ready(
    release: Release,
    address: str,
    *,
    exit_reason: Callable[[], str | None],
    log_tail: Callable[[], tuple[str, ...]],
    interrupted: Callable[[], bool],
) -> None:
    """Probe until ready, warm-up included. Raises StepFailed at the limit or when it exits, Interrupted."""
    warmup, started = release.run.warmup, time.monotonic()
    wait = partial(
        _wait_for,
        limit=release.run.health.timeout,
        started=started,
        exit_reason=exit_reason,
        log_tail=log_tail,
        interrupted=interrupted,
    )
    wait(lambda _: _probe(release, address), "the container did not become ready in time")
    if warmup is None:
        return
    body = None if warmup.json_body is None else json.dumps(warmup.json_body).encode()
    for _ in range(warmup.times):
        wait(
            lambda left: _warm_up(warmup, release, address, body, left),
            "warming up did not end in time",
            hopeless="the warm-up request was not answered with 2xx",
            interval=WARMUP_INTERVAL,
            next_step="mend run.warmup, or the service, or give run.health.timeout more seconds",
        )


def _wait_for(
    ask: Callable[[float], _Answer],
    reason: str,
    *,
    limit: float,
    started: float,
    exit_reason: Callable[[], str | None],
    log_tail: Callable[[], tuple[str, ...]],
    interrupted: Callable[[], bool],
    hopeless: str = "",
    interval: float = INTERVAL,
    next_step: str = "",
) -> None:
    """Ask, with the seconds that are left, until the answer will do."""
    asked = 0.0
    while True:
        if interrupted():
            raise Interrupted
        answer = ask(limit - (time.monotonic() - started))
        if answer.ready:
            return
        elapsed, ended = time.monotonic() - started, None
        over = answer.hopeless or elapsed > limit
        if over or elapsed - asked > ASK_ENGINE_EVERY:
            asked, ended = elapsed, exit_reason()
        if over or ended:
            reason = hopeless if answer.hopeless else reason
            raise StepFailed(
                Phase.probe,
                f"the container exited before it was ready: {ended}" if ended else reason,
                elapsed=elapsed,
                limit=limit,
                last_answer="" if ended else answer.said,  # who has ended gives none
                log_tail=log_tail(),
                next_step="" if ended else next_step,
            )
        time.sleep(interval)


def _probe(release: Release, address: str) -> _Answer:
    path = release.run.health.path
    if path is None:
        try:
            socket.create_connection((address, release.port), timeout=CONNECT_SECONDS).close()
        except OSError as error:
            return _Answer(False, f"TCP {release.port}: {error}")
        return _Answer(True)
    status, body = _request(address, release.port, "GET", path, None, ANSWER_SECONDS)
    return _Answer(_is_good(status), _said("GET", path, status, body))


def _warm_up(warmup: Warmup, release: Release, address: str, body: bytes | None, left: float) -> _Answer:
    limit = max(min(release.run.limits.request_timeout, left), INTERVAL)
    status, answer = _request(address, release.port, warmup.method, warmup.path, body, limit)
    # A service may be healthy a moment before its model is warm; a request that is wrong stays wrong.
    hopeless = 400 <= status < 500 and status not in MAY_PASS  # noqa: PLR2004 - the client's errors
    return _Answer(_is_good(status), _said(warmup.method, warmup.path, status, answer), hopeless)


def _is_good(status: int) -> bool:
    return 200 <= status < 300  # noqa: PLR2004 - the success codes


def _said(method: str, path: str, status: int, body: str) -> str:
    return f"{method} {path}: {f'HTTP {status} ' if status else ''}{body}"


def _request(
    address: str, port: int, method: str, path: str, body: bytes | None, limit: float
) -> tuple[int, str]:
    """Status and the body's beginning; status 0 and the error when there was no whole answer in time."""
    connection = http.client.HTTPConnection(address, port, timeout=CONNECT_SECONDS)
    late = threading.Event()
    try:
        connection.connect()
        connection.sock.settimeout(limit)
        with _broken_off(connection.sock, limit, late):
            headers = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            said = answer.status, answer.read().decode(errors="replace")[:BODY_SHOWN]
    except (OSError, http.client.HTTPException) as error:
        said = 0, f"{type(error).__name__}: {error}"
    finally:
        connection.close()
    return (0, f"no whole answer within {limit:.1f} s") if late.is_set() else said


@contextmanager
def _broken_off(connection: socket.socket, seconds: float, late: threading.Event) -> Iterator[None]:
    """End the connection after so long: a socket's own timeout begins anew with every byte that comes."""

    def end() -> None:
        late.set()
        with suppress(OSError):  # it has just ended
            connection.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, end)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
