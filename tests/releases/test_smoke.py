"""Whether an answer fits what was expected."""

from datetime import UTC, datetime

import pytest

from releases.release import Release
from releases.smoke import checks_of, contains, misfit, p95
from releases.spec import Expect, Health, Run, SmokeCheck


@pytest.mark.parametrize(
    ("expect", "status", "body", "said"),
    [
        ({}, 500, "oh no", ("status 200", "status 500: oh no")),
        ({"status": 404}, 404, "", None),
        ({"headers": {"X-Model": "v1"}}, 200, "", ("header X-Model: v1", "v2")),
        ({"headers": {"X-Other": "1"}}, 200, "", ("header X-Other: 1", "no such header")),
        ({"json": {"a": 1}}, 200, "<html>", ("JSON", "<html>")),
        ({"json": {"a": 1}}, 200, '{"a": 2, "b": 3}', ('{"a": 1}', '{"a": 2, "b": 3}')),
        ({"json": {"a": 1}}, 200, '{"a": 1, "b": 3}', None),
        ({"json_schema": {"required": ["label"]}}, 200, "{}", ("fits the JSON schema at $", "required")),
    ],
)
def test_what_does_not_fit_is_told(
    expect: dict, status: int, body: str, said: tuple[str, str] | None
) -> None:
    found = misfit(Expect.model_validate(expect), status, {"x-model": "v2"}, body)
    if said is None:
        assert found is None
    else:
        assert found is not None
        assert found[0] == said[0]
        assert said[1] in found[1]


def test_contained_means_every_named_part_and_nothing_about_the_rest() -> None:
    assert contains({"a": [1, {"b": 2.0000000001, "c": 3}]}, {"a": [1, {"b": 2.0}]})
    assert not contains({"a": [1, 2]}, {"a": [1]}), "a list is meant whole"
    assert not contains({"a": True}, {"a": 1})
    assert not contains([], {"a": 1})


def test_p95_is_a_latency_that_was_measured() -> None:
    assert p95([0.1]) == 0.1
    assert p95([number / 100 for number in range(1, 101)]) == 0.95


def test_without_checks_the_health_path_is_one() -> None:
    assert [check.path for check in checks_of(release("/healthz"))] == ["/healthz"]
    assert checks_of(release(None)) == []
    own = SmokeCheck(path="/x")
    assert checks_of(release("/healthz", own)) == [own]


def release(health_path: str | None, *smoke: SmokeCheck) -> Release:
    return Release(
        service="iris", environment="local", number=1, image="i@sha256:" + "0" * 64, version="1", port=80,
        public_port=80, run=Run(health=Health(path=health_path)), smoke=smoke, confirm_window=60,
        created=datetime.now(UTC),
    )  # fmt: skip
