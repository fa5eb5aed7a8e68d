"""Canary: traffic step by step, and the verdict at each step from the edge's counters. Pure."""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from releases.duration import DAY, Duration
from releases.status import Counters, SideBySide

WHOLE = 100
CHANCE = 3.0  # standard deviations that bad luck may explain
UNEQUAL_MS = 50.0  # p95 of UNEQUAL_AT answers on a busy machine differs by this much for no reason
UNEQUAL_AT = 50


def _number(value: Any) -> Any:
    return value.removesuffix("%") if isinstance(value, str) else value


Percent = Annotated[int, BeforeValidator(_number), Field(ge=1, le=WHOLE)]


class Rollout(BaseModel):
    """How a new release gets its traffic, instead of all at once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: tuple[Percent, ...] = Field((5, 25, 100), min_length=1, description="Per cent, up to 100.")
    hold: Duration = Field(120, gt=0, le=DAY, description="Seconds at each step below 100.")
    requests: int = Field(50, ge=1, description="The least that the candidate has answered for a verdict.")
    errors: float = Field(0.01, ge=0, le=1, description="Share of 5xx that it may have above the live one's.")
    slower: float = Field(1.5, ge=1, description="Times the live one's p95 response time that its may be.")

    @field_validator("steps", mode="after")
    @classmethod
    def _rising(cls, steps: tuple[int, ...]) -> tuple[int, ...]:
        if list(steps) != sorted(set(steps)) or steps[-1] != WHOLE:
            raise ValueError("the steps rise, and the last is 100")
        return steps


class Verdict(StrEnum):
    """What the counters say."""

    passed = "passed"
    failed = "failed"
    inconclusive = "inconclusive"


@dataclass(frozen=True)
class Judgement:
    """A verdict, and the numbers for people."""

    verdict: Verdict
    said: str


def judge(rollout: Rollout, seen: SideBySide, *, over: bool) -> Judgement:
    """The verdict on what was counted since the candidate became ready; `over`: the step's time is up.

    Before that, only errors that chance does not explain are a verdict, so that few requests meet them.
    """
    candidate, live = seen.candidate, seen.live
    said = f"candidate {_told(candidate)}; live {_told(live)}"
    tolerated = candidate.requests * (live.share + rollout.errors)
    if candidate.errors > tolerated + CHANCE * math.sqrt(max(tolerated, 1.0)):
        return Judgement(Verdict.failed, f"more 5xx than the live release: {said}")
    if not over:
        return Judgement(Verdict.inconclusive, f"the step is not over: {said}")
    if candidate.requests < rollout.requests:
        return Judgement(Verdict.inconclusive, f"fewer than {rollout.requests} requests: {said}")
    if candidate.errors > tolerated:
        return Judgement(Verdict.failed, f"more 5xx than the live release: {said}")
    chance = UNEQUAL_MS * min(1.0, math.sqrt(UNEQUAL_AT / candidate.requests))  # less of it, the more answers
    if live.milliseconds and candidate.milliseconds > rollout.slower * live.milliseconds + chance:
        return Judgement(Verdict.failed, f"slower than {rollout.slower:g} times the live release: {said}")
    return Judgement(Verdict.passed, said)


def _told(counters: Counters) -> str:
    return f"{counters.errors} of {counters.requests} failed, p95 {counters.milliseconds:.0f} ms"
