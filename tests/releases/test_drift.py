"""The stability index."""

import random

from hypothesis import given
from hypothesis import strategies as st

from releases.drift import LEAST, Distribution, stability_index, verdict

values = st.lists(st.floats(-1e6, 1e6), min_size=LEAST, max_size=300)


def normal(mean: float, seed: int, count_: int = 2000) -> list[float]:
    dice = random.Random(seed)
    return [dice.gauss(mean, 1) for _ in range(count_)]


def test_the_same_distribution_is_stable_and_a_moved_one_has_shifted() -> None:
    training = Distribution.of(normal(0, 1))
    same, moved = stability_index(training, normal(0, 2)), stability_index(training, normal(1, 3))
    assert same is not None
    assert moved is not None
    assert (verdict(same), verdict(moved)) == ("stable", "shifted")
    assert stability_index(training, [0.0] * (LEAST - 1)) is None
    assert stability_index(Distribution.of([]), normal(0, 2)) is None


def test_what_is_no_number_counts_for_nothing() -> None:
    training = Distribution.of([*normal(0, 1), float("nan"), float("inf")])
    assert training == Distribution.of(normal(0, 1))
    assert stability_index(training, [*normal(0, 2), float("nan")]) == stability_index(training, normal(0, 2))


@given(values, values)
def test_the_index_is_never_negative_and_nothing_moved_is_zero(one: list[float], other: list[float]) -> None:
    index = stability_index(Distribution.of(one), other)
    assert index is not None
    assert index >= 0
    assert stability_index(Distribution.of(one), one) == 0


@given(values, st.randoms())
def test_the_order_of_the_values_does_not_matter(one: list[float], dice: object) -> None:
    other = [value + 1 for value in one]
    index = stability_index(Distribution.of(one), other)
    dice.shuffle(other)  # type: ignore[attr-defined]
    assert stability_index(Distribution.of(one), other) == index
