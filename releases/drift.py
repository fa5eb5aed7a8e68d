"""How far a feature's values have moved from those the model was trained on."""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

BINS = 10
LEAST = 100  # fewer values say nothing: chance alone gives a high index then
SMOOTHING = 0.5  # an empty bin counts as half a value, or the logarithm has no limit
TRAINING_FEATURES = "training-features.json"  # a file of a model version: `Training`


class Distribution(BaseModel):
    """The values of one feature, by their own quantiles."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    edges: tuple[float, ...] = Field(description="Between the bins, rising.")
    counts: tuple[int, ...] = Field(description="Values in each bin; one more than edges.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.counts) != len(self.edges) + 1 or list(self.edges) != sorted(self.edges):
            raise ValueError("there must be rising edges, and one more count than edges")
        return self

    @classmethod
    def of(cls, values: Sequence[float], bins: int = BINS) -> Self:
        """From the values themselves; what is no number counts for nothing."""
        ordered = sorted(value for value in values if math.isfinite(value))
        edges = (
            sorted({ordered[len(ordered) * number // bins] for number in range(1, bins)}) if ordered else []
        )
        return cls(edges=tuple(edges), counts=_counts(ordered, edges))


class Training(BaseModel):
    """What a model version was trained on, published with it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    features: dict[str, Distribution] = Field(min_length=1)


def count(values: Sequence[float], edges: Sequence[float]) -> Counter[int]:
    """Values by the number of their bin; what is no number counts for nothing."""
    return Counter(bisect_right(edges, value) for value in values if math.isfinite(value))


def stability_index(training: Distribution, seen: Sequence[float] | Counter[int]) -> float | None:
    """The population stability index over the training values' quantiles; None where there are too few.

    `seen`: the values, or how many there are in each bin. The rule of thumb: below 0.1 stable, above 0.25
    shifted (Siddiqi, Credit Risk Scorecards, 2006).
    """
    bins = seen if isinstance(seen, Counter) else count(seen, training.edges)
    found = [bins[number] for number in range(len(training.counts))]
    if min(sum(training.counts), sum(found)) < LEAST:
        return None
    expected, got = (_shares(counts) for counts in (training.counts, found))
    return sum(
        (after - before) * math.log(after / before) for before, after in zip(expected, got, strict=True)
    )


def verdict(index: float) -> str:
    """The rule of thumb in a word."""
    if index < 0.1:  # noqa: PLR2004 - the rule's own numbers
        return "stable"
    return "some shift" if index <= 0.25 else "shifted"  # noqa: PLR2004


def _counts(values: Sequence[float], edges: Sequence[float]) -> tuple[int, ...]:
    bins = count(values, edges)
    return tuple(bins[number] for number in range(len(edges) + 1))


def _shares(counts: Sequence[int]) -> list[float]:
    smoothed = [count + SMOOTHING for count in counts]
    return [count / sum(smoothed) for count in smoothed]
