"""FAULTS.md row 16: a check that fails once and then passes, and what else a check meets."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from blocks.smoke import CheckResult, run_checks, run_checks_on_each
from releases.problem import Failed
from releases.spec import SmokeCheck
from releases.status import CANDIDATE_HEADER, RELEASE_HEADER
from tests.http_server import Answer, Request, serving


@contextmanager
def answering(*answers: object, release: int = 7) -> Iterator[tuple[str, list[str | None]]]:
    """A service that gives these answers in turn, the last one for ever: its address, the tokens that came."""
    tokens: list[str | None] = []

    def service(request: Request) -> Answer:
        told = json.dumps(answers[min(len(tokens), len(answers) - 1)]).encode()
        tokens.append(request.headers[CANDIDATE_HEADER])
        return Answer(told, headers={RELEASE_HEADER: str(release)})

    with serving(service) as address:
        yield address, tokens


def checked(url: str, token: str | None = None, **policy: object) -> list[CheckResult]:
    check = SmokeCheck.model_validate({"expect": {"json": {"answer": "right"}}, **policy})
    return run_checks([check], url, 7, token, lambda: None)


WRONG, RIGHT = {"answer": "wrong"}, {"answer": "right"}


@pytest.mark.parametrize(("attempts", "passes"), [(1, False), (2, True), (3, True)])
@pytest.mark.fault(16)
def test_a_check_that_fails_once_and_then_passes_is_as_the_spec_says(attempts: int, passes: bool) -> None:
    with answering(WRONG, RIGHT) as (url, tokens):
        if passes:
            (result,) = checked(url, attempts=attempts)
            assert len(result.latencies) == 1
        else:
            with pytest.raises(Failed, match="the smoke check `GET /` failed"):
                checked(url, attempts=attempts)
    assert len(tokens) == min(attempts, 2)


def test_every_request_of_a_check_must_pass() -> None:
    with answering(RIGHT, RIGHT, WRONG, RIGHT) as (url, _), pytest.raises(Failed):
        checked(url, requests=4)


def test_a_cancel_is_noticed_between_two_requests_and_while_many_nodes_are_asked() -> None:
    class Stop(Exception): ...  # noqa: N818

    def stop_at(times: int) -> Callable[[], None]:
        looks = iter(range(times))

        def look() -> None:
            if next(looks, None) is None:
                raise Stop

        return look

    check = SmokeCheck.model_validate({"requests": 100})
    with answering(RIGHT) as (url, tokens):
        with pytest.raises(Stop):
            run_checks([check], url, 7, None, stop_at(3))
        assert len(tokens) == 3
        with pytest.raises(Stop):
            run_checks_on_each([check], [url, url], 7, None, stop_at(0))


def test_another_release_that_answers_rightly_does_not_pass() -> None:
    with answering(RIGHT, release=6) as (url, _), pytest.raises(Failed) as caught:
        checked(url)
    assert (caught.value.expected, caught.value.got) == ("release 7 answers", "release 6, status 200")


def test_only_a_check_of_the_candidate_carries_the_token() -> None:
    with answering(RIGHT) as (url, tokens):
        checked(url, token="secret")
        checked(url)
    assert tokens == ["secret", None]


@pytest.mark.parametrize(("release", "fine"), [(7, True), (6, False)])
def test_without_checks_it_is_still_seen_who_answers(release: int, fine: bool) -> None:
    """Whatever it answers: nothing is known of such a service."""
    tokens = []

    def service(request: Request) -> Answer:
        tokens.append(request.headers[CANDIDATE_HEADER])
        return Answer(status=404, headers={RELEASE_HEADER: str(release)})

    with serving(service) as url:
        if fine:
            run_checks([], url, 7, "secret", lambda: None)
        else:
            with pytest.raises(Failed, match="the new release answers") as caught:
                run_checks([], url, 7, "secret", lambda: None)
            assert caught.value.got == "release 6, status 404"
    assert tokens == ["secret"]


def test_an_answer_without_an_end_fails_at_the_limit() -> None:
    with (
        serving(lambda _: Answer(b".", headers={RELEASE_HEADER: "7"}, endless=True)) as url,
        pytest.raises(Failed) as caught,
    ):
        checked(url, timeout=0.3)
    assert caught.value.got == "ReadTimeout: its body has no end yet"


def test_a_service_that_is_away_is_said_with_the_limit() -> None:
    with answering(RIGHT) as (url, _):
        pass
    with pytest.raises(Failed) as caught:
        checked(url, timeout=1)
    assert caught.value.expected == "an answer within 1 s"
    assert re.fullmatch(r"GET /, after \d\.\d\d s \(limit 1 s a request\)", caught.value.where)
