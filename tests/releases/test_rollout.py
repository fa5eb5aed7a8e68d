"""The canary's verdict: what it never does, whatever the counters are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from releases.rollout import Rollout, Verdict, judge
from releases.spec_file import parse_spec
from releases.status import Counters, SideBySide

ROLLOUT = Rollout()


@st.composite
def counters(draw: st.DrawFn) -> Counters:
    requests = draw(st.integers(0, 100_000))
    return Counters(
        requests=requests,
        errors=draw(st.integers(0, requests)),
        milliseconds=draw(st.floats(0, 10_000)),
    )


def verdict(candidate: Counters, live: Counters, over: bool = True) -> Verdict:
    return judge(ROLLOUT, SideBySide(candidate=candidate, live=live), over=over).verdict


@given(counters(), st.booleans())
def test_what_is_as_good_as_the_live_release_never_fails(one: Counters, over: bool) -> None:
    assert verdict(one, one, over) is not Verdict.failed


@given(counters(), counters(), st.integers(0, 100_000))
def test_more_errors_are_never_better(candidate: Counters, live: Counters, more: int) -> None:
    order = [Verdict.passed, Verdict.inconclusive, Verdict.failed]
    worse = candidate.model_copy(update={"errors": min(candidate.requests, candidate.errors + more)})
    assert order.index(verdict(worse, live)) >= order.index(verdict(candidate, live))


@given(counters(), counters())
def test_nothing_passes_before_its_time_or_on_too_few_requests(candidate: Counters, live: Counters) -> None:
    assert verdict(candidate, live, over=False) is not Verdict.passed
    if candidate.requests < ROLLOUT.requests:
        assert verdict(candidate, live) is not Verdict.passed


@given(counters())
def test_what_fails_early_fails_in_the_end(candidate: Counters) -> None:
    live = Counters(requests=1000, errors=2, milliseconds=10)
    if verdict(candidate, live, over=False) is Verdict.failed:
        assert verdict(candidate, live) is Verdict.failed


def test_a_candidate_that_fails_every_request_has_failed_after_a_few() -> None:
    live = Counters(requests=1000, milliseconds=10)
    assert verdict(Counters(requests=4, errors=4), live, over=False) is Verdict.failed
    assert verdict(Counters(requests=100, errors=2), live, over=False) is Verdict.inconclusive


def test_a_slow_candidate_fails_and_a_little_noise_does_not() -> None:
    live = Counters(requests=1000, milliseconds=100)
    assert verdict(Counters(requests=100, milliseconds=210), live) is Verdict.failed
    assert verdict(Counters(requests=100, milliseconds=140), live) is Verdict.passed
    fast = Counters(requests=9000, milliseconds=5)
    assert verdict(Counters(requests=60, milliseconds=40), fast) is Verdict.passed, "few answers prove little"
    assert verdict(Counters(requests=2000, milliseconds=40), fast) is Verdict.failed
    assert (
        verdict(Counters(requests=100, milliseconds=20), Counters(requests=10, milliseconds=2))
        is Verdict.passed
    )
    assert verdict(Counters(requests=100, milliseconds=200), Counters(requests=10)) is Verdict.passed, (
        "nothing to compare with"
    )


def test_steps_are_written_with_and_without_the_sign() -> None:
    spec = parse_spec("rollout: {steps: [5%, 25, 100%], hold: 60}\nconfirm: {window: 100}")
    assert spec.rollout is not None
    assert spec.rollout.steps == (5, 25, 100)
    assert parse_spec("rollout: {hold: 2m}").rollout == Rollout(hold=120)
    assert spec.confirm_window == 220, "a step held twice, then a person has the window"


@pytest.mark.parametrize("steps", [[], [5, 25], [25, 5, 100], [5, 5, 100], [0, 100], ["five", 100]])
def test_steps_that_do_not_rise_to_all_are_refused(steps: list) -> None:
    with pytest.raises(ValidationError):
        Rollout.model_validate({"steps": steps})


def test_a_canary_needs_both_side_by_side() -> None:
    with pytest.raises(Exception, match="side by side"):
        parse_spec("rollout: {}\nrun: {swap: replace}")
