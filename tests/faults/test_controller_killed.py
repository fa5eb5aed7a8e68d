"""FAULTS.md row 9: the controller killed at each step; the next run converges, with no half swap."""

import pytest

from deployments.load import Request, running
from tests.controllers import wait_until
from tests.place import Place

pytestmark = pytest.mark.containers

BEFORE_THE_SWITCH = [
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
            killed.wait_for(step)
            killed.kill()
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
