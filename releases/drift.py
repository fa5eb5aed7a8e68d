"""How far a feature's values have moved from those the model was trained on."""

import math
from bisect import bisect_right
from collections.abc import Sequence

BINS = 10
LEAST = 100  # fewer values say nothing: chance alone gives a high index then
SMOOTHING = 0.5  # an empty bin counts as half a value, or the logarithm has no limit


def stability_index(training: Sequence[float], seen: Sequence[float], bins: int = BINS) -> float | None:
    """The population stability index over the training values' quantiles; None where there are too few.

    The rule of thumb: below 0.1 stable, above 0.25 shifted (Siddiqi, Credit Risk Scorecards, 2006).
    """
    if min(len(training), len(seen)) < LEAST:
        return None
    ordered = sorted(training)
    edges = sorted({ordered[len(ordered) * number // bins] for number in range(1, bins)})
    expected, got = (_shares(values, edges) for values in (training, seen))
    return sum(
        (after - before) * math.log(after / before) for before, after in zip(expected, got, strict=True)
    )


def verdict(index: float) -> str:
    """The rule of thumb in a word."""
    if index < 0.1:  # noqa: PLR2004 - the rule's own numbers
        return "stable"
    return "some shift" if index <= 0.25 else "shifted"  # noqa: PLR2004


def _shares(values: Sequence[float], edges: list[float]) -> list[float]:
    counts = [SMOOTHING] * (len(edges) + 1)
    for value in values:
        counts[bisect_right(edges, value)] += 1
    return [count / sum(counts) for count in counts]
