"""FAULTS.md row 15: right as long as only marked requests came, wrong to users. Back within a second."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.controllers import Command, wait_until
from tests.place import Place

pytestmark = pytest.mark.containers

AFTER = "smoke test after"
BACK = timedelta(seconds=1)  # from the failed check to the first right answer


@pytest.mark.fault(15)
def test_one_that_is_wrong_only_after_the_switch_is_back_within_a_second(place: Place) -> None:
    place.released()
    before = place.live()
    place.commit("right at first")
    with place.without_litter(images=1):
        release = place.start("release", ".")
        answers = asked_meanwhile(place, release)
        done = release.wait()
    assert done.returncode == 1
    assert release.has_done("switch"), "it failed before any user met it"
    check = "the smoke check `right` failed"
    told = [check, 'expected: {"answer": "right"}', 'got: {"answer": "wrong"', f"release {before} is live"]
    for words in [*told, "was taken back"]:
        assert words in done.stderr, done.stderr
    outcome = json.loads(place.model_deploy("history", "sample", "--json").stdout)[0]["outcome"]
    assert (outcome["verdict"], outcome["live"]) == ("reverted", before)
    assert check in outcome["reason"]
    assert place.live() == before
    words = [word for _, word in answers]
    assert set(words) == {"right", "wrong"}, "no user met the new one"
    failed = failed_at(place)
    back = next(at for at, word in answers if word == "right" and at > failed)
    assert back - failed < BACK
    assert "wrong" not in [word for at, word in answers if at > back]


def asked_meanwhile(place: Place, command: Command) -> list[tuple[datetime, str]]:
    """What users are told, and when, until the command has ended."""
    answers: list[tuple[datetime, str]] = []
    with httpx.Client(base_url=place.url(), timeout=5) as client:

        def ask() -> bool:
            word = client.get("/").raise_for_status().json()["answer"]
            answers.append((datetime.now(UTC), word))
            return command.ended

        wait_until(ask, 120)
    return answers


def failed_at(place: Place) -> datetime:
    """When the smoke test after the switch had failed."""
    run = place.runs("release")[0]["id"]
    tasks: list[dict[str, Any]] = place.api(
        "POST", "/task_runs/filter", flow_runs={"id": {"any_": [run]}}, task_runs={"name": {"any_": [AFTER]}}
    )
    (task,) = tasks
    assert task["state"]["type"] == "FAILED"
    return datetime.fromisoformat(task["state"]["timestamp"])
