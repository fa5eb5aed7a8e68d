"""FAULTS.md rows 4, 5, 7, 8: pushes that come late, many, or while Prefect is away."""

import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import pairwise
from uuid import UUID

import httpx
import pytest
from prefect.client.orchestration import PrefectClient

from deployments import stack
from deployments.webhook.order import Order
from deployments.webhook.prefect_api import RunStore, Setup
from releases.trigger import Rule, Watched
from tests.controllers import Done, wait_until
from tests.deployments.conftest import push
from tests.deployments.receiving import SECRET, Store, sent_while_the_store_is_held_up, waiting
from tests.faults.pushing import Pushing, pushing
from tests.place import SPEC, Place

pytestmark = pytest.mark.containers


@pytest.fixture(scope="module")
def pushed(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pushing]:
    with pushing(place, tmp_path_factory.mktemp("pushing")) as made:
        made.place.released()
        yield made


@pytest.mark.fault(4)
def test_an_older_push_that_arrives_after_a_newer_one_never_goes_back(pushed: Pushing) -> None:
    older, newer = pushed.commit(), pushed.commit()
    run = pushed.accepted(newer)
    assert pushed.execute(run).wait().returncode == 0
    live = pushed.place.live()
    assert pushed.said_of(newer) == [
        ("model-deploy/local/sample", "pending", "releasing to local"),
        ("model-deploy/local/sample", "success", f"live at {pushed.place.url()}"),
    ]
    assert run in pushed.github.statuses[-1][1]["target_url"]
    assert pushed.github.deployment_statuses[-1][1]["environment_url"] == pushed.place.url()
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
    gone_back = pushed.place.model_deploy("rollback", "sample")
    assert gone_back.returncode == 0, gone_back.stderr
    assert pushed.live_commit() == newer
    assert pushed.said_of(newer)[-1][1:] == ("success", f"live at {pushed.place.url()}")
    assert pushed.said_of(older)[-1][1:] == ("error", f"taken back: {newer[:8]} is live again")


@pytest.mark.fault(5)
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


@pytest.mark.fault(5)
def test_pushes_on_top_of_each_other_that_wait_together_are_one_run_and_one_again_changes_nothing(
    pushed: Pushing,
) -> None:
    before, commits = pushed.head(), [pushed.commit() for _ in range(3)]
    chain = [push(after, before=was) for was, after in pairwise([before, *commits])]
    service = Watched(name="sample", repository="acme/models", source=str(pushed.place.repository))
    store = Store(behind=through(pushed.place))
    setup = Setup((Rule("local", "main", (service,)),), (SECRET,))
    with sent_while_the_store_is_held_up(store, chain, setup) as sent:
        store.gate.set()
        answers = [one.result() for one in sent]
    assert [answer.status_code for answer in answers] == [202] * 3, answers[0].text
    (run,) = {answer.json()["runs"][0]["flow_run"] for answer in answers}
    assert [bool(answer.json()["reason"]) for answer in answers] == [True, True, False]
    refs = [one["parameters"]["ref"] for one in pushed.place.runs("release")]
    assert [ref for ref in refs if ref in commits] == [commits[-1]]
    assert pushed.execute(run).wait().returncode == 0
    live = pushed.place.live()
    again = pushed.receiver.deliver(chain[0])
    assert f"{commits[0][:8]} is not what main is now" in released_by(pushed, again).stderr
    assert pushed.receiver.deliver(chain[-1]).json()["runs"][0]["flow_run"] == run
    assert pushed.place.live() == live
    assert pushed.live_commit() == commits[-1]


def through(place: Place) -> Callable[[Sequence[Order]], Awaitable[list[UUID | str]]]:
    """Into the place's Prefect, whichever this process was started with."""

    async def store(orders: Sequence[Order]) -> list[UUID | str]:
        async with PrefectClient(stack.api_url(place.home)) as client:
            return await RunStore(client)(orders)

    return store


def released_by(pushed: Pushing, answer: httpx.Response) -> Done:
    """What came of the run of an accepted delivery."""
    assert answer.status_code == 202, answer.text
    return pushed.execute(answer.json()["runs"][0]["flow_run"]).wait()


@pytest.mark.fault(7)
def test_a_push_while_prefect_is_away_is_released_when_it_is_back_and_once(pushed: Pushing) -> None:
    commit = pushed.commit()
    kill_server(pushed.place)
    taken = pushed.deliver(commit)
    assert (taken.status_code, taken.json()["runs"]) == (202, [])
    assert taken.json()["reason"] == "kept on disk until Prefect has stored the run: sample in local"
    stack.ensure_server(pushed.place.home)
    wait_until(lambda: waiting(pushed.receiver) == 0, 60)
    (run,) = [one for one in pushed.place.runs("release") if one["parameters"]["ref"] == commit]
    assert "started" not in pushed.place.model_deploy("reconcile").stdout
    assert pushed.execute(run["id"]).wait().returncode == 0
    assert pushed.live_commit() == commit


@pytest.mark.fault(7)
def test_a_push_that_nobody_took_is_released_by_the_next_reconcile_and_once(pushed: Pushing) -> None:
    commit = pushed.commit()
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


@pytest.mark.fault(8)
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
    commit = pushed.commit("wrong")
    run = pushed.accepted(commit)
    assert pushed.execute(run).wait().returncode == 1
    assert pushed.state(run) == "Failed"
    context, state, said = pushed.said_of(commit)[-1]
    assert (context, state) == ("model-deploy/local/sample", "failure")
    assert "the smoke check `right` failed" in said
    for _ in range(2):
        assert "started" not in pushed.place.model_deploy("reconcile").stdout
    assert pushed.live_commit() == live


def test_a_pull_request_is_tested_and_built_and_nothing_is_pushed_or_deployed(pushed: Pushing) -> None:
    live, known = pushed.place.live(), pushed.images()
    commits = {}
    assert pushed.place.environment["SECRET_OF_THE_WORKER"]  # which no container of a check may see
    steals = "env | grep -q SECRET_OF_THE_WORKER && exit 9 || true"
    for behaviour in ("well", "broken"):
        pushed.place.git("checkout", "--quiet", "-B", "feature", "main")
        docker = pushed.place.repository / "Dockerfile"
        text = docker.read_text().replace("FROM python:3.11-slim", "FROM python:3.11-slim AS tests")
        docker.write_text(f"{text.rstrip()}\nRUN {steals}\n")
        if behaviour == "broken":
            (pushed.place.repository / "Dockerfile").write_text(
                "FROM python:3.11-slim AS tests\nRUN exit 7\n"
            )
        stage = f"test: {{target: tests, command: [sh, -c, '{steals}']}}\n"
        pushed.place.commit(spec=SPEC % (behaviour, 0, 30) + stage)
        commits[behaviour] = pushed.head("feature")
    pushed.place.git("checkout", "--quiet", "main")
    for behaviour, code in (("well", 0), ("broken", 1)):
        sides = {
            "head": {"ref": "feature", "sha": commits[behaviour]},
            "base": {"ref": "main", "sha": "0" * 40},
        }
        payload = {"action": "synchronize", "number": 7, "pull_request": sides}
        answer = pushed.receiver.deliver(
            {**payload, "repository": {"full_name": "acme/models"}}, "pull_request"
        )
        done = pushed.execute(answer.json()["runs"][0]["flow_run"]).wait()
        assert done.returncode == code, done.stderr
        shown = "success" if code == 0 else "failure"
        assert pushed.said_of(commits[behaviour])[-1][:2] == ("model-deploy/check/sample", shown)
    assert pushed.images() == known
    assert pushed.place.live() == live
    assert not any(deployment["ref"] in commits.values() for deployment in pushed.github.deployments)


def test_what_somebody_changed_by_hand_is_reported_and_mended_where_that_is_wanted(pushed: Pushing) -> None:
    before = pushed.place.live()
    name = f"{pushed.place.node}-sample-r{before}"
    subprocess.run(["docker", "update", "--cpus", "0.5", name], check=True, capture_output=True)
    agent = f"{pushed.place.node}-agent"  # looks when it starts, and else within a minute
    subprocess.run(["docker", "restart", agent], check=True, capture_output=True)
    wait_until(lambda: pushed.place.target.status("sample").changed != "", 90)
    reported = pushed.place.model_deploy("reconcile")
    assert reported.returncode == 1
    assert "somebody changed the container by hand: cpus" in reported.stdout
    assert pushed.waiting() == []
    pushed.describe("repair")
    for _ in range(2):
        mended = pushed.place.model_deploy("reconcile")
        assert f"release {before} is brought back" in mended.stdout
    (run,) = pushed.waiting()
    assert pushed.execute(run["id"]).wait().returncode == 0
    assert pushed.place.live() > before
    after = pushed.place.model_deploy("reconcile")
    assert after.returncode == 0, after.stdout
    assert "as it should be" in after.stdout


def kill_server(place: Place) -> None:
    os.killpg(int((place.home.path / "server.pid").read_text()), signal.SIGKILL)
