"""FAULTS.md row 9: the controller killed at each step; the next run converges, with no half swap."""

import json
import secrets
import subprocess

import pytest

from deployments.load import Request, running
from tests.controllers import Command, wait_until
from tests.faults.tested import commit as commit_with_tests
from tests.faults.tested import containers_of_tests
from tests.place import Place

pytestmark = pytest.mark.containers

FIRST = "nothing"  # killed in the first step
BEFORE_THE_SWITCH = [
    FIRST,
    "check out",
    "reach the node",
    "tests and build",
    "push",
    "deploy",
    "start",
]
AROUND_THE_SWITCH = ["smoke test", "switch", "smoke test after"]


@pytest.mark.timeout(600)
@pytest.mark.fault(9)
def test_the_next_run_converges_wherever_the_last_was_killed(place: Place) -> None:
    place.released()
    for step in BEFORE_THE_SWITCH + AROUND_THE_SWITCH:
        before = place.live()
        place.commit(bake=0.5)
        killed = place.start("release", ".", "--rebuild")
        with running(Request(place.port), rate=50) as load:
            wait_for(place, killed, step)
            killed.kill()
            assert step != FIRST or not killed.has_done("check out"), "it was killed too late"
            place.forget_leases()
            done = place.model_deploy("release", ".")
            assert done.returncode == 0, (step, done.stderr)
        assert load.failures == [], step
        after = place.live()
        assert load.releases <= {str(number) for number in range(before, after + 1)}, step
        if step in BEFORE_THE_SWITCH:
            assert load.releases == {str(before), str(after)}, step
    history = place.model_deploy("history", "sample").stdout
    assert "open" not in history, "a claim was left without an outcome"
    wait_until(lambda: place.containers() == 1, 15)


def wait_for(place: Place, command: Command, step: str) -> None:
    """Until the step has ended, or, if it is the first that is to be met, until the run runs."""
    if step == FIRST:
        wait_until(lambda: place.states("release")[0] == "Running", 60)
    else:
        command.wait_for(step)


@pytest.mark.fault(9)
def test_one_killed_between_its_confirm_and_its_record_is_settled_as_confirmed(place: Place) -> None:
    place.released()
    before = place.live()
    place.commit(bake=3)
    killed = place.start("release", ".")
    killed.wait_for("smoke test after")
    agent = f"{place.node}-agent"
    subprocess.run(["docker", "pause", agent], check=True, capture_output=True)  # so it waits in its confirm
    try:
        wait_until(lambda: place.target.desired("sample").candidate is None, 30)
        killed.kill()
    finally:
        subprocess.run(["docker", "unpause", agent], check=True, capture_output=True)
    place.forget_leases()
    assert history(place)[0]["outcome"] is None, "it was killed too late"
    place.commit()
    with running(Request(place.port), rate=50) as load:
        done = place.model_deploy("release", ".")
    assert done.returncode == 0, done.stderr
    assert load.failures == []
    assert load.releases <= {str(before + 1), str(before + 2)}, "what was confirmed was taken back"
    outcome = history(place)[1]["outcome"]
    assert outcome["verdict"] == "confirmed"
    assert "settled by a later run" in outcome["reason"]


@pytest.mark.fault(9)
def test_the_next_run_ends_the_tests_of_one_that_was_killed(place: Place, before: int) -> None:
    commit_with_tests(place, '["sleep", "600"]')
    killed = place.start("release", ".")
    wait_until(lambda: containers_of_tests(place, "running"), 60)
    killed.kill()
    place.forget_leases()
    assert containers_of_tests(place, "running"), "they ended with it"
    commit_with_tests(place, f'["echo", "{secrets.token_hex(4)}"]')  # or they would have been built before
    with running(Request(place.port), rate=50) as load:
        done = place.model_deploy("release", ".")
    assert done.returncode == 0, done.stderr
    assert load.failures == []
    assert load.releases == {str(before), str(place.live())}
    assert containers_of_tests(place) == []


def history(place: Place) -> list[dict]:
    return json.loads(place.model_deploy("history", "sample", "--json").stdout)


@pytest.mark.timeout(200)
def test_the_place_of_a_killed_run_is_free_a_minute_later(place: Place) -> None:
    place.released()
    place.commit(bake=60, window=200)
    killed = place.start("release", ".")
    killed.wait_for("smoke test after")
    killed.kill()
    place.commit()
    done = place.start("release", ".").wait(120)
    assert done.returncode == 0, done.stderr
