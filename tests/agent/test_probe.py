"""When a container counts as ready: its health, then its warm-up, in that order."""

import json
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
    answer: Callable[[Request], Answer], *, interrupted: bool = False, **run: object
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
            log_tail=lambda: ("its last line",),
            interrupted=lambda: interrupted,
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


def test_a_warm_up_that_fails_is_told_with_the_answer_and_is_not_tried_again() -> None:
    asked = list[str]()

    def answer(request: Request) -> Answer:
        asked.append(request.path)
        return Answer(b"no weights", 500) if request.path == "/predict" else Answer()

    with pytest.raises(StepFailed, match="the warm-up request was not answered with 2xx") as failed:
        wait(answer, health=HEALTH, warmup=WARMUP, limits={"request_timeout": 7})
    failure = failed.value.failure
    assert failure.phase is Phase.probe
    assert failure.last_answer == "POST /predict: HTTP 500 no weights"
    assert (failure.limit, failure.log_tail) == (7, ("its last line",))
    assert "run.warmup" in failure.next_step
    assert asked == ["/healthz", "/predict"]


def test_one_that_never_gets_healthy_is_given_up_at_its_limit_with_its_last_answer() -> None:
    with pytest.raises(StepFailed, match="did not become ready in time") as failed:
        wait(lambda _: Answer(b"loading", 503), health={"path": "/healthz", "timeout": 0.2}, warmup=WARMUP)
    assert failed.value.failure.last_answer == "GET /healthz: HTTP 503 loading"
    assert failed.value.failure.limit == 0.2


def test_nobody_waits_for_what_is_no_longer_wanted() -> None:
    with pytest.raises(Interrupted):
        wait(lambda _: Answer(status=503), interrupted=True, health=HEALTH)
