"""Does an answer fit what a smoke check expects? Pure; the requests are made in blocks/smoke.py."""

import json
import math
from collections.abc import Mapping
from typing import Any

import jsonschema

from releases.release import Release
from releases.spec import Expect, SmokeCheck

SHOWN = 300


def misfit(expect: Expect, status: int, headers: Mapping[str, str], body: str) -> tuple[str, str] | None:
    """What was expected and what came, or None when the answer fits. Header names in lower case."""
    if status != expect.status:
        return f"status {expect.status}", f"status {status}: {body[:SHOWN]}"
    for name, value in expect.headers.items():
        if headers.get(name.lower()) != value:
            return f"header {name}: {value}", f"{headers.get(name.lower(), 'no such header')}"
    if expect.json_body is None and expect.json_schema is None:
        return None
    try:
        answer = json.loads(body)
    except ValueError:
        return "JSON", body[:SHOWN]
    if expect.json_body is not None and not contains(answer, expect.json_body):
        return json.dumps(expect.json_body), json.dumps(answer)[:SHOWN]
    if expect.json_schema is not None:
        problem = next(jsonschema.Draft202012Validator(expect.json_schema).iter_errors(answer), None)
        if problem:
            return f"fits the JSON schema at {problem.json_path}", problem.message[:SHOWN]
    return None


def contains(answer: Any, wanted: Any) -> bool:
    """Every key, item and value of `wanted` is in `answer`; what is more does not matter."""
    if isinstance(wanted, dict):
        return isinstance(answer, dict) and all(
            key in answer and contains(answer[key], value) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(answer, list)
            and len(answer) == len(wanted)
            and all(contains(one, other) for one, other in zip(answer, wanted, strict=True))
        )
    if isinstance(wanted, float) and isinstance(answer, int | float):
        return math.isclose(answer, wanted, rel_tol=1e-6, abs_tol=1e-9)
    return type(answer) is type(wanted) and bool(answer == wanted)


def p95(latencies: list[float]) -> float:
    """The latency that 95 % of the requests stayed under, in seconds."""
    ordered = sorted(latencies)
    return ordered[max(0, math.ceil(0.95 * len(ordered)) - 1)]


def checks_of(release: Release) -> list[SmokeCheck]:
    """Its spec's checks; without any, that it answers its health path."""
    path = release.run.health.path
    if release.smoke or path is None:
        return list(release.smoke)
    return [SmokeCheck(name="health", path=path)]
