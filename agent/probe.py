"""Is the container ready? Asked directly: Docker's own HEALTHCHECK adds over a second."""

import http.client
import json
import socket
import time
from collections.abc import Callable

from agent.failure import Interrupted, StepFailed
from releases.release import Release
from releases.spec import Warmup
from releases.status import Phase

INTERVAL = 0.03
ANSWER_SECONDS = 2.0
CONNECT_SECONDS = 0.3  # on the node's own bridge; a container that is gone answers nothing at all
ASK_ENGINE_EVERY = 0.25
BODY_SHOWN = 200


def wait_until_ready(
    release: Release,
    address: str,
    *,
    exit_reason: Callable[[], str | None],
    log_tail: Callable[[], tuple[str, ...]],
    interrupted: Callable[[], bool],
) -> None:
    """Probe until ready, warm-up included. Raises StepFailed at the limit or when it exits, Interrupted."""
    health, started, asked = release.run.health, time.monotonic(), 0.0
    while True:
        ready, answer = _probe(release, address)
        if ready:
            break
        elapsed = time.monotonic() - started
        if interrupted():
            raise Interrupted
        reason = "the container did not become ready in time" if elapsed > health.timeout else None
        ended = None
        if reason or elapsed - asked > ASK_ENGINE_EVERY:
            asked, ended = elapsed, exit_reason()
            reason = f"the container exited before it was ready: {ended}" if ended else reason
        if reason:
            raise StepFailed(
                Phase.probe,
                reason,
                elapsed=elapsed,
                limit=health.timeout,
                last_answer="" if ended else answer,  # who has ended gives none
                log_tail=log_tail(),
            )
        time.sleep(INTERVAL)
    if release.run.warmup:
        _warm_up(release.run.warmup, release, address, log_tail)


def _probe(release: Release, address: str) -> tuple[bool, str]:
    path = release.run.health.path
    if path is None:
        try:
            socket.create_connection((address, release.port), timeout=CONNECT_SECONDS).close()
        except OSError as error:
            return False, f"TCP {release.port}: {error}"
        return True, ""
    status, body = _request(address, release.port, "GET", path, None, ANSWER_SECONDS)
    return 200 <= status < 300, f"GET {path}: {f'HTTP {status} ' if status else ''}{body}"  # noqa: PLR2004


def _warm_up(warmup: Warmup, release: Release, address: str, log_tail: Callable[[], tuple[str, ...]]) -> None:
    body = None if warmup.json_body is None else json.dumps(warmup.json_body).encode()
    limit = release.run.limits.request_timeout
    for _ in range(warmup.times):
        status, answer = _request(address, release.port, warmup.method, warmup.path, body, limit)
        if not 200 <= status < 300:  # noqa: PLR2004 - the success codes
            raise StepFailed(
                Phase.probe,
                "the warm-up request was not answered with 2xx",
                limit=limit,
                last_answer=f"{warmup.method} {warmup.path}: {f'HTTP {status} ' if status else ''}{answer}",
                log_tail=log_tail(),
                next_step="mend run.warmup, or the service",
            )


def _request(
    address: str, port: int, method: str, path: str, body: bytes | None, limit: float
) -> tuple[int, str]:
    """Status and the body's beginning; status 0 and the error when there was no answer."""
    connection = http.client.HTTPConnection(address, port, timeout=CONNECT_SECONDS)
    try:
        connection.connect()
        connection.sock.settimeout(limit)
        headers = {"Content-Type": "application/json"} if body is not None else {}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")[:BODY_SHOWN]
    except (OSError, http.client.HTTPException) as error:
        return 0, f"{type(error).__name__}: {error}"
    finally:
        connection.close()
