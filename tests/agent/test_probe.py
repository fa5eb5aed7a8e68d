"""When a container counts as ready: its health, then its warm-up, in that order."""

import json
import threading
import time
from collections.abc import Callable
from urllib.parse import urlparse

import pytest

from agent import probe
from agent.failure import Interrupted, StepFailed
from releases.status import Phase
from tests.http_server import Answer, Request, serving
from tests.releases.test_swap import release

HEALTH = {"path": "/healthz", "timeout": 5}
WARMUP = {"path": "/predict", "json": {"x": 1}, "times": 3}


def wait(
    answer: Callable[[Request], Answer],
    *,
    interrupted: Callable[[], bool] = lambda: False,
    log_tail: Callable[[], tuple[str, ...]] = lambda: ("its last line",),
    **run: object,
) -> list[tuple[str, str, bytes]]:
    """What the container was asked until it was ready."""
    asked: list[tuple[str, str, bytes]] = []

    def noted(request: Request) -> Answer:
        asked.append((request.method, request.path, request.body))
        return answer(request)

    with serving(noted) as address:
        at = urlparse(address)
        probe.wait_until_ready(
            release(1, **run).model_copy(update={"port": at.port}),
            str(at.hostname),
            exit_reason=lambda: None,
            log_tail=log_tail,
            interrupted=interrupted,
        )
    return asked


def test_it_is_warmed_up_once_it_is_healthy_as_often_as_is_said() -> None:
    sick = iter([503, 503, 200])
    asked = wait(
        lambda request: Answer(status=next(sick) if request.path == "/healthz" else 200),
        health=HEALTH,
        warmup=WARMUP,
    )
    assert [path for _, path, _ in asked] == ["/healthz"] * 3 + ["/predict"] * 3
    assert {(method, json.loads(body)["x"]) for method, path, body in asked if path == "/predict"} == {
        ("POST", 1)
    }


def test_a_warm_up_that_the_service_is_not_ready_for_is_asked_again() -> None:
    cold = iter([503, 429, 200, 200, 500, 200])
    asked = wait(
        lambda request: Answer(status=next(cold) if request.path == "/predict" else 200),
        health=HEALTH,
        warmup=WARMUP,
    )
    assert [path for _, path, _ in asked] == ["/healthz"] + ["/predict"] * 6


@pytest.mark.parametrize(
    ("status", "seconds", "times", "said"),
    [
        (422, 60, 1, "the warm-up request was not answered with 2xx"),
        (500, 0.5, None, "warming up did not end in time"),
    ],
)
def test_a_warm_up_that_fails_is_told_with_the_answer(
    status: int, seconds: float, times: int | None, said: str
) -> None:
    """At once where the request is wrong, at the limit of the health check where it is the service."""
    asked, started = list[str](), time.monotonic()

    def answer(request: Request) -> Answer:
        asked.append(request.path)
        return Answer(b"no weights", status) if request.path == "/predict" else Answer()

    with pytest.raises(StepFailed, match=said) as failed:
        wait(answer, health={**HEALTH, "timeout": seconds}, warmup=WARMUP)
    failure = failed.value.failure
    assert failure.phase is Phase.probe
    assert failure.last_answer == f"POST /predict: HTTP {status} no weights"
    assert (failure.limit, failure.log_tail) == (seconds, ("its last line",))
    assert "run.warmup" in failure.next_step
    assert times is None or asked == ["/healthz", *["/predict"] * times]
    assert time.monotonic() - started < 20


def test_a_warm_up_that_hangs_ends_with_the_limit_of_the_health_check() -> None:
    held = threading.Event()

    def answer(request: Request) -> Answer:
        if request.path == "/predict":
            held.wait(20)
        return Answer()

    def let_go() -> tuple[str, ...]:
        held.set()
        return ()

    with pytest.raises(StepFailed, match="warming up did not end in time"):
        wait(answer, log_tail=let_go, health={**HEALTH, "timeout": 0.5}, warmup=WARMUP)


def test_a_warm_up_that_nobody_wants_any_more_is_left() -> None:
    asked = list[str]()

    def answer(request: Request) -> Answer:
        asked.append(request.path)
        return Answer(status=503 if request.path == "/predict" else 200)

    with pytest.raises(Interrupted):
        wait(answer, interrupted=lambda: "/predict" in asked, health=HEALTH, warmup=WARMUP)


def test_one_that_never_gets_healthy_is_given_up_at_its_limit_with_its_last_answer() -> None:
    with pytest.raises(StepFailed, match="did not become ready in time") as failed:
        wait(lambda _: Answer(b"loading", 503), health={"path": "/healthz", "timeout": 0.2}, warmup=WARMUP)
    assert failed.value.failure.last_answer == "GET /healthz: HTTP 503 loading"
    assert failed.value.failure.limit == 0.2


@pytest.mark.parametrize("path", ["/healthz", "/predict"])
def test_an_answer_without_an_end_is_none(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "ANSWER_SECONDS", 0.3)
    with pytest.raises(StepFailed, match="in time") as failed:
        wait(
            lambda request: Answer(b".", endless=request.path == path),
            health={**HEALTH, "timeout": 0.5},
            warmup=WARMUP,
        )
    assert "no whole answer within 0." in failed.value.failure.last_answer


def test_nobody_waits_for_what_is_no_longer_wanted() -> None:
    with pytest.raises(Interrupted):
        wait(lambda _: Answer(status=503), interrupted=lambda: True, health=HEALTH)
