"""What GitHub shows of a run, and that a GitHub which is down costs a run nothing but a moment at its end."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow
from prefect.states import Completed, Scheduled
from pydantic import SecretStr

from blocks.environment import load_environment
from blocks.github import GitHub
from blocks.image_builder import TestCase, TestReport, TestsFailed
from deployments.approvals import answer, waiting
from flows import github_feedback
from flows.approval import approved
from flows.github_feedback import told_github, watched_by
from flows.pushed import Pushed
from flows.turn import name_the_end
from releases.problem import Cancelled, Failed, Superseded
from releases.rules import ApprovalRule
from releases.trigger import Watched
from tests.blocks.test_remote import Repository
from tests.flows.test_reconcile_flow import environment, stored, waits_for_a_yes
from tests.flows.test_telling import PROPOSAL
from tests.github.server import TOKEN, FakeGitHub, Trouble, running
from tests.releases.test_swap import release as a_release

COMMIT = "a" * 40
SOURCE = "https://github.com/acme/models.git"
FIRST = TestCase("test_model::test_accuracy", 0.1, "0.41")
RED = TestsFailed("1 of 2 tests failed", FIRST, TestReport((FIRST,)))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGitHub]:
    with running() as github:
        block = GitHub(token=SecretStr(TOKEN), api=github.address, patience=5)
        monkeypatch.setattr(github_feedback, "connected_github", lambda: block)
        yield github


def where(name: str = "production") -> Any:
    watched = [Watched(name="iris", repository="acme/models", path="iris")]
    return SimpleNamespace(name=name, services=watched)


def run(act: Callable[[github_feedback.Feedback], None], ref: str = COMMIT, source: str = SOURCE) -> None:
    place = where()
    with told_github(place, watched_by(place, source, "/iris/"), ref) as told:
        act(told)


def lives(told: github_feedback.Feedback) -> None:
    told.begins(COMMIT)
    told.is_live("https://iris.acme.com")


def raises(error: BaseException, *, begun: bool = True) -> Callable[[github_feedback.Feedback], None]:
    def act(told: github_feedback.Feedback) -> None:
        if begun:
            told.begins(COMMIT)
        raise error

    return act


def shown(fake: FakeGitHub) -> list[tuple[str, str]]:
    assert {commit for commit, _ in fake.statuses} <= {COMMIT}
    assert {status["context"] for _, status in fake.statuses} <= {"model-deploy/production/iris"}
    return [(status["state"], status["description"]) for _, status in fake.statuses]


def test_a_release_that_is_live_has_a_green_status_and_a_deployment_with_its_address(
    fake: FakeGitHub,
) -> None:
    run(lives)
    assert shown(fake) == [
        ("pending", "releasing to production"),
        ("success", "live at https://iris.acme.com"),
    ]
    (deployment,) = fake.deployments
    assert (deployment["ref"], deployment["environment"]) == (COMMIT, "production")
    assert deployment["production_environment"]
    assert [status["state"] for _, status in fake.deployment_statuses] == ["in_progress", "success"]
    assert fake.deployment_statuses[-1][1]["environment_url"] == "https://iris.acme.com"


@pytest.mark.parametrize(
    ("error", "state", "said"),
    [
        (RED, "failure", "1 of 2 tests failed: test_model::test_accuracy"),
        (Failed("the image cannot be built", got="secret?"), "failure", "the image cannot be built"),
        (Cancelled(), "error", "cancelled; what was live before is live"),
        (Superseded("a newer release has been asked for"), "error", "a newer release has been asked for"),
        (RuntimeError("boom"), "error", "ended early: RuntimeError"),
    ],
)
def test_a_run_that_fails_says_why(fake: FakeGitHub, error: BaseException, state: str, said: str) -> None:
    with pytest.raises(type(error)):
        run(raises(error))
    assert shown(fake)[-1] == (state, said)
    assert fake.deployment_statuses[-1][1]["state"] == state


def test_a_commit_that_was_taken_back_is_not_shown_as_live_any_more(fake: FakeGitHub) -> None:
    run(lives)
    old, new = (a_release(1).model_copy(update={"revision": commit}) for commit in ("b" * 40, COMMIT))

    def goes_back(told: github_feedback.Feedback) -> None:
        told.concerns(old)
        told.takes_back(new)
        told.begins(old.revision)
        told.is_live("https://iris.acme.com")

    run(goes_back, ref="")
    last = {commit: (status["state"], status["description"]) for commit, status in fake.statuses}
    assert last == {
        old.revision: ("success", "live at https://iris.acme.com"),
        COMMIT: ("error", f"taken back: {old.revision[:8]} is live again"),
    }
    deployments = {number: status["state"] for number, status in fake.deployment_statuses}
    assert deployments == {1: "inactive", 2: "success"}


def test_a_spec_that_cannot_be_read_is_shown_beside_the_pushed_commit(fake: FakeGitHub) -> None:
    with pytest.raises(Failed):
        run(raises(Failed("`run.port` is not right"), begun=False))
    assert shown(fake) == [("failure", "`run.port` is not right")]
    assert not fake.deployments


def test_a_run_that_gave_way_leaves_what_is_shown_of_its_commit(fake: FakeGitHub) -> None:
    with pytest.raises(Superseded):
        run(raises(Superseded("has been tried here already"), begun=False))
    assert not fake.requests


@flow(name="release", on_failure=[name_the_end])
def asks_first(source: str, ref: str, path: str, environment: str, branch: str) -> None:
    """As a release of a push does."""
    place = load_environment(environment)
    with told_github(place, watched_by(place, source, path), ref):
        Pushed(place, "iris", source, ref, branch).begin()
        approved(place, ApprovalRule(expires=600), PROPOSAL)


def run_it(run: UUID) -> str:
    """As a worker does; the name of the state that it is left in."""
    with get_client(sync_client=True) as client:
        with suppress(Pause):  # a worker's process ends with it
            run_flow(asks_first, flow_run=client.read_flow_run(run), return_type="state")
        return client.read_flow_run(run).state_name or ""


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("elsewhere", [False, True])
def test_an_approval_of_a_commit_that_was_left_behind_ends_what_github_shows(
    fake: FakeGitHub, tmp_path: Path, *, elsewhere: bool
) -> None:
    repository = Repository(tmp_path / "models")
    old = repository.commit("iris/a")
    production = environment(repository.path)
    run = waits_for_a_yes(production, old).id
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run, Scheduled(), force=True)
    assert run_it(run) == "Suspended"
    repository.commit("iris/b")
    if elsewhere:  # its tag was released meanwhile, say
        stored(production, old, Completed())
    (meant,) = (one for one in waiting() if one.run == run)
    assert answer(meant, "approve", "ann", "") == ""
    assert run_it(run) == "Superseded"
    end = ("error", f"{old[:8]} is not what main is now")
    said = [(status["state"], status["description"]) for _, status in fake.statuses]
    assert said == [("pending", "waits for an approval"), *([] if elsewhere else [end])]


@pytest.mark.parametrize(
    ("ref", "source"), [(COMMIT, "/home/me/models"), ("main", SOURCE), (COMMIT, "https://evil/acme/models")]
)
def test_what_nobody_watches_or_has_no_commit_yet_is_told_to_nobody(
    fake: FakeGitHub, ref: str, source: str
) -> None:
    with pytest.raises(Failed):
        run(raises(Failed("no"), begun=False), ref, source)
    assert not fake.requests


@pytest.mark.parametrize("trouble", [Trouble(0), Trouble(503), Trouble(401), Trouble(404)])
def test_a_github_that_is_down_neither_fails_nor_slows_the_release(
    fake: FakeGitHub, trouble: Trouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(github_feedback, "PATIENCE", 1.0)
    short = GitHub(token=SecretStr(TOKEN), api=fake.address, patience=0.6)
    monkeypatch.setattr(github_feedback, "connected_github", lambda: short)
    fake.always, started, released = trouble, time.monotonic(), 0.0

    def act(told: github_feedback.Feedback) -> None:
        nonlocal released
        lives(told)
        released = time.monotonic()

    run(act)
    assert released - started < 0.5, "the release itself has waited for GitHub"
    assert time.monotonic() - released < 3
