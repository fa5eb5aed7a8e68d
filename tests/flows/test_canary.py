"""A release that gets its traffic step by step, on a real node under load."""

import pytest

from deployments.load import Request, running
from tests.controllers import wait_until
from tests.place import SPEC, Place

pytestmark = pytest.mark.containers

CANARY = SPEC % ("%s", 0, 60) + "rollout: {steps: [25%%, 100%%], hold: %s, requests: %s}\n"


def test_a_candidate_that_answers_5xx_goes_before_many_users_meet_it(place: Place) -> None:
    place.released()
    before = place.live()
    place.commit(spec=CANARY % ("fails soon", 30, 10))
    with running(Request(place.port), rate=60) as load:
        canary = place.start("release", ".")
        done = canary.wait()
        failed = len(load.failures)
        answered = load.total
        wait_until(lambda: load.total > answered + 60, 30)
    assert done.returncode == 1, done.stdout
    assert "the canary failed at 25 % of the traffic" in done.stderr
    assert "more 5xx than the live release" in done.stderr
    assert place.live() == before
    assert 1 <= failed < 60, "those that met it until the next count, not those of a whole step"
    assert len(load.failures) == failed, "none once it was taken back"
    assert "reverted" in place.model_deploy("history", "sample").stdout.splitlines()[0]


def test_a_candidate_that_is_well_gets_all_the_traffic(place: Place) -> None:
    place.released()
    before = place.live()
    place.commit(spec=CANARY % ("", 3, 10))
    with running(Request(place.port), rate=60) as load:
        canary = place.start("release", ".")
        done = canary.wait()
    assert done.returncode == 0, done.stderr
    assert "canary" in done.stdout
    assert place.live() == before + 1
    assert load.failures == []


def test_a_canary_that_nobody_asks_leaves_it_to_a_person(place: Place) -> None:
    place.released()
    before = place.live()
    place.commit(spec=CANARY % ("", 0.5, 1000))
    canary = place.start("release", ".")
    wait_until(lambda: "waiting for a person" in canary.output, 90)
    assert place.target.status("sample").traffic == 25
    run = place.runs("release")[0]
    answer = {"decision": "reject", "by": "ann", "reason": "too few"}
    place.api("POST", f"/flow_runs/{run['id']}/resume", run_input=answer)
    done = canary.wait()
    assert done.returncode == 3
    assert "ann has rejected the canary at 25 % of the traffic" in done.stderr
    assert "fewer than 1000 requests" in done.stderr
    assert place.live() == before
    assert place.states("release")[0] == "Rejected"
