"""Which pull request is checked."""

from dataclasses import replace

import pytest

from releases.pull_request import PullRequest, decide
from releases.trigger import Rule, Watched

IRIS = Watched(name="iris", repository="acme/models", path="iris")
ROSE = Watched(name="rose", repository="acme/models", path="rose")
RULES = (
    Rule("dev", "dev", (IRIS,)),
    Rule("staging", "main", (IRIS,)),
    Rule("production", "main", (IRIS, ROSE)),
    Rule("local", "", (IRIS, ROSE)),
)
PULL = PullRequest("acme/models", 7, "opened", "main", "a" * 40)


@pytest.mark.parametrize(
    ("change", "checked", "reason"),
    [
        ({}, ["iris@staging", "rose@production"], ""),
        ({"action": "synchronize"}, ["iris@staging", "rose@production"], ""),
        ({"base": "dev"}, ["iris@dev"], ""),
        ({"repository": "ACME/Models"}, ["iris@staging", "rose@production"], ""),
        ({"action": "closed"}, [], "was closed"),
        ({"action": "labeled"}, [], "was labeled"),
        ({"base": ""}, [], "no environment releases from the branch"),
        ({"base": "feature"}, [], "no environment releases from the branch feature"),
        ({"repository": "evil/models"}, [], "nothing in evil/models is watched"),
    ],
)
def test_what_a_pull_request_starts(change: dict[str, object], checked: list[str], reason: str) -> None:
    decision = decide(replace(PULL, **change), RULES)
    assert [f"{one.service}@{one.environment}" for one in decision.starts] == checked
    assert reason in decision.ignored
    assert bool(decision.starts) != bool(decision.ignored)
    assert {one.source for one in decision.starts} <= {"https://github.com/acme/models.git"}


def test_each_commit_is_checked_once_per_service_and_pull_request() -> None:
    first, second = decide(PULL, RULES).starts
    others = [replace(first, ref="b" * 40), replace(first, pull_request=8), second]
    assert len({one.key("any") for one in [first, *others]}) == 4
    assert first.key("one delivery") == first.key("another")
