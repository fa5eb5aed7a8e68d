"""FAULTS.md rows 4, 5, 7, 8: pushes that come late, many, or while Prefect is away."""

import os
import signal
from collections.abc import Iterator

import pytest

from deployments import stack
from tests.controllers import wait_until
from tests.deployments.conftest import wait_until_ready
from tests.faults.pushing import Pushing, pushing
from tests.place import Place

pytestmark = pytest.mark.containers


@pytest.fixture(scope="module")
def pushed(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pushing]:
    with pushing(place, tmp_path_factory.mktemp("pushing")) as made:
        made.place.released()
        yield made


def test_an_older_push_that_arrives_after_a_newer_one_never_goes_back(pushed: Pushing) -> None:
    older, newer = pushed.commit(), pushed.commit()
    run = pushed.accepted(newer)
    assert pushed.execute(run).wait().returncode == 0
    live = pushed.place.live()
    late = pushed.accepted(older)
    done = pushed.execute(late).wait()
    assert f"{older[:8]} is not what main is now" in done.stderr
    assert pushed.state(late) == "Superseded"
    assert pushed.place.live() == live
    assert pushed.live_commit() == newer
    assert pushed.accepted(newer) == run, "another delivery of the same commit is the same run"


def test_a_forced_push_goes_back_and_is_not_done_twice(pushed: Pushing) -> None:
    older, newer = pushed.commit(), pushed.commit()
    for commit in (older, newer):
        pushed.place.git("reset", "--hard", commit)
        pushed.execute(pushed.accepted(commit)).wait()
    pushed.place.git("reset", "--hard", older)
    back = pushed.accepted(older, forced=True)
    assert pushed.execute(back).wait().returncode == 0
    assert pushed.live_commit() == older
    again = pushed.accepted(older, forced=True)
    assert again != back
    live = pushed.place.live()
    assert "has been tried here already" in pushed.execute(again).wait().stderr
    assert pushed.place.live() == live


def test_of_twenty_pushes_the_newest_is_live_and_those_between_are_superseded(pushed: Pushing) -> None:
    before = pushed.place.live()
    commits = [pushed.commit() for _ in range(20)]
    runs = {commit: pushed.accepted(commit) for commit in [*commits[10:], *commits[:10]]}  # half come late
    running = {commit: pushed.execute(run) for commit, run in runs.items()}
    for each in running.values():
        each.wait(300)
    assert pushed.live_commit() == commits[-1]
    assert pushed.place.live() == before + 1
    states = {commit: pushed.state(run) for commit, run in runs.items()}
    assert states.pop(commits[-1]) == "Completed"
    assert set(states.values()) == {"Superseded"}


def test_a_push_while_prefect_is_away_is_released_by_the_next_reconcile_and_once(pushed: Pushing) -> None:
    commit = pushed.commit()
    kill_server(pushed.place)
    assert pushed.deliver(commit).status_code == 503
    stack.ensure_server(pushed.place.home)
    wait_until_ready(pushed.receiver)
    for number in range(2):
        done = pushed.place.model_deploy("reconcile")
        assert done.returncode == 0, done.stderr
        assert ("started the release" in done.stdout) is (number == 0)
    (run,) = pushed.waiting()
    assert run["parameters"]["ref"] == commit
    assert pushed.accepted(commit) == run["id"], (
        "the delivery that comes late is the run that reconcile started"
    )
    assert pushed.execute(run["id"]).wait().returncode == 0
    assert pushed.live_commit() == commit
    assert "started" not in pushed.place.model_deploy("reconcile").stdout


def test_prefects_server_killed_in_mid_run_is_one_deployment(pushed: Pushing) -> None:
    before = pushed.place.live()
    commit = pushed.commit(bake=15, window=120)
    run = pushed.accepted(commit)
    going = pushed.execute(run)
    going.wait_for("switch")
    kill_server(pushed.place)
    stack.ensure_server(pushed.place.home)
    assert going.wait(120).returncode == 0
    wait_until(lambda: pushed.state(run) == "Completed", 30)
    assert pushed.place.live() == before + 1
    assert pushed.live_commit() == commit
    assert "started" not in pushed.place.model_deploy("reconcile").stdout


def test_a_commit_whose_release_failed_is_left_alone(pushed: Pushing) -> None:
    live = pushed.live_commit()
    run = pushed.accepted(pushed.commit("wrong"))
    assert pushed.execute(run).wait().returncode == 1
    assert pushed.state(run) == "Failed"
    for _ in range(2):
        assert "started" not in pushed.place.model_deploy("reconcile").stdout
    assert pushed.live_commit() == live


def kill_server(place: Place) -> None:
    os.killpg(int((place.home.path / "server.pid").read_text()), signal.SIGKILL)
