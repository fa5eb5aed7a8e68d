"""Gates: what they let through, what they refuse, and that nothing else can be written in them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from releases.gate import judge, well_formed

numbers = st.floats(-1e6, 1e6, allow_nan=False)


@given(numbers, numbers, st.floats(0, 10))
def test_a_gate_compares_what_it_says(now: float, live: float, slack: float) -> None:
    finding = judge(f"metrics.accuracy >= live - {slack!r}", {"accuracy": now}, {"accuracy": live})
    assert finding.holds == (now >= live - slack)


@given(numbers, numbers)
def test_live_with_a_name_is_another_metric(now: float, live: float) -> None:
    metrics, other = {"loss": now}, {"loss": 0.0, "best": live}
    assert judge("metrics.loss < 2 * live.best + 1", metrics, other).holds == (now < 2 * live + 1)


def test_where_nothing_is_live_there_is_nothing_to_compare_with() -> None:
    assert judge("metrics.accuracy >= live", {"accuracy": 0.1}, None).holds
    assert not judge("metrics.accuracy >= 0.5", {"accuracy": 0.1}, None).holds


@pytest.mark.parametrize(("metrics", "live", "said"), [
    ({}, {"accuracy": 1}, "the model that is to be released has no metric `accuracy`"),
    ({"accuracy": 1.0}, {}, "the model that is live has no metric `accuracy`"),
])  # fmt: skip
def test_a_metric_that_is_missing_lets_nothing_through(metrics: dict, live: dict, said: str) -> None:
    finding = judge("metrics.accuracy >= live", metrics, live)
    assert not finding.holds
    assert said in finding.said


def test_a_metric_that_is_no_number_lets_nothing_through() -> None:
    assert not judge("metrics.accuracy >= 0.5", {"accuracy": float("nan")}, None).holds


@pytest.mark.parametrize("text", [
    "", "metrics.accuracy", "1 < 2 < 3", "metrics.accuracy == 1", "metrics.accuracy >= 'a'",
    "__import__('os').system('true') > 0", "metrics.a.b > 0", "other.a > 0", "metrics > 0", "live > 1",
    "metrics.a + metrics.b > live", "metrics.a > True", "metrics.a > 2 ** 9", "metrics['a'] > 1",
    "(lambda: 1)() > 0", "metrics.a > 1; 2", "-" * 150 + "metrics.a" + "-1" * 60 + " > 0", "\0",
])  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"gate|live"):
        well_formed(text)


@given(st.text(alphabet="metricslv.ab01+-*<>= ()", max_size=40))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    try:
        well_formed(text)
    except ValueError:
        return
    judge(text, {}, {})
