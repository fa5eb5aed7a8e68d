"""Smoke checks: requests from outside, through the edge."""

import functools
import json
import ssl
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass

import httpx

from blocks.edge import asking
from releases.problem import Failed
from releases.smoke import misfit, p95
from releases.spec import SmokeCheck
from releases.status import CANDIDATE_HEADER, RELEASE_HEADER


@dataclass(frozen=True)
class CheckResult:
    """A check that passed. Latencies in seconds."""

    title: str
    latencies: tuple[float, ...]


NODES_AT_ONCE = 16
LOOK_SECONDS = 1.0  # how long a cancel may go unnoticed


def run_checks_on_each(
    checks: list[SmokeCheck],
    urls: Sequence[str],
    release: int,
    token: str | None,
    between: Callable[[], None],
    host: str = "",
) -> list[CheckResult]:
    """Every check on every node; latencies of one check come together. Raises Failed that names the node.

    `host`: the name to ask each node by, where services share a port.
    """
    if not urls:
        return []
    if len(urls) == 1:
        return run_checks(checks, urls[0], release, token, between, host)
    pool = ThreadPoolExecutor(NODES_AT_ONCE)
    try:
        going = {pool.submit(run_checks, checks, url, release, token, _nothing, host): url for url in urls}
        found, left = [], set(going)
        while left:
            between()
            done, left = wait(left, LOOK_SECONDS, return_when=FIRST_COMPLETED)
            found += [_of_node(one.result, going[one]) for one in done]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # one failure is enough
    return [
        CheckResult(same[0].title, tuple(one for result in same for one in result.latencies))
        for same in zip(*found, strict=True)
    ]


@functools.cache
def _trusted() -> ssl.SSLContext:
    """Read once: it takes longer than most checks."""
    return httpx.create_ssl_context()


def _nothing() -> None:
    """Only the thread that waits looks for a cancel."""


def _of_node(result: Callable[[], list[CheckResult]], url: str) -> list[CheckResult]:
    try:
        return result()
    except Failed as failed:
        failed.where = f"{failed.where} at {url}"
        raise


def run_checks(
    checks: list[SmokeCheck],
    url: str,
    release: int,
    token: str | None,
    between: Callable[[], None],
    host: str = "",
) -> list[CheckResult]:
    """Run every check; with a token the candidate is met, else whoever serves users. Raises Failed.

    Without any check it is still seen that the release is the one that answers, whatever it answers.
    """
    with asking(host, base_url=url, verify=_trusted()) as client:
        if not checks:
            between()
            return [_who_answers(client, release, token)]
        return [_with_attempts(client, check, release, token, between) for check in checks]


def _who_answers(client: httpx.Client, release: int, token: str | None) -> CheckResult:
    check, started = SmokeCheck(name="the new release answers"), time.monotonic()
    headers = {CANDIDATE_HEADER: token} if token else {}
    try:
        with client.stream("GET", check.path, headers=headers, timeout=check.timeout) as answer:
            _see_release(check, answer, release, started)  # its body may never end
    except httpx.HTTPError as error:
        raise _unanswered(check, error, started) from error
    return CheckResult(check.title, (time.monotonic() - started,))


def _see_release(check: SmokeCheck, answer: httpx.Response, release: int, started: float) -> None:
    answering = answer.headers.get(RELEASE_HEADER, "none")
    if answering != str(release):
        got = f"release {answering}, status {answer.status_code}"
        raise _failed(check, f"release {release} answers", got, started)


def _with_attempts(
    client: httpx.Client, check: SmokeCheck, release: int, token: str | None, between: Callable[[], None]
) -> CheckResult:
    for attempt in range(check.attempts):
        try:
            return _run(client, check, release, token, between)
        except Failed:
            if attempt + 1 == check.attempts:
                raise
            time.sleep(min(1.0, 0.1 * 2**attempt))
    raise AssertionError  # attempts is at least 1


def _run(
    client: httpx.Client, check: SmokeCheck, release: int, token: str | None, between: Callable[[], None]
) -> CheckResult:
    latencies, began = [], time.monotonic()
    for _ in range(check.requests):
        between()
        started = time.monotonic()
        answer, body = _send(client, check, token)
        latencies.append(time.monotonic() - started)
        _see_release(check, answer, release, started)
        wrong = misfit(check.expect, answer.status_code, answer.headers, body)
        if wrong:
            raise _failed(check, *wrong, started)
    budget = check.expect.p95
    if budget is not None and p95(latencies) > budget:
        got = f"{p95(latencies) * 1000:.0f} ms over {check.requests} requests"
        raise _failed(check, f"p95 within {budget * 1000:.0f} ms", got, began)
    return CheckResult(check.title, tuple(latencies))


def _send(client: httpx.Client, check: SmokeCheck, token: str | None) -> tuple[httpx.Response, str]:
    """The answer and its body. Raises Failed, also where the body goes on for longer than the check may."""
    headers = {**check.headers, **({CANDIDATE_HEADER: token} if token else {})}
    content = None
    if check.json_body is not None:
        content = json.dumps(check.json_body)
        headers.setdefault("content-type", "application/json")
    started, body = time.monotonic(), bytearray()
    asked = client.stream(check.method, check.path, headers=headers, content=content, timeout=check.timeout)
    try:
        with asked as answer:
            for part in answer.iter_bytes():  # httpx's timeout begins anew with each
                body += part
                if time.monotonic() - started > check.timeout:
                    raise httpx.ReadTimeout("its body has no end yet")
            return answer, body.decode(answer.encoding or "utf-8", errors="replace")
    except httpx.HTTPError as error:
        raise _unanswered(check, error, started) from error


def _unanswered(check: SmokeCheck, error: httpx.HTTPError, started: float) -> Failed:
    got = f"{type(error).__name__}: {error}"
    return _failed(check, f"an answer within {check.timeout:.0f} s", got, started)


def _failed(check: SmokeCheck, expected: str, got: str, started: float) -> Failed:
    """`started`: when the request was sent that failed, or the first of those that were too slow."""
    took = f"after {time.monotonic() - started:.2f} s (limit {check.timeout:.0f} s a request)"
    where = f"{check.method} {check.path}, {took}"
    return Failed(f"the smoke check `{check.title}` failed", where, expected, got)
