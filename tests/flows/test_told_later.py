"""GitHub is away when a run ends by itself: reconcile tells it how, once, when GitHub is back."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.runtime import flow_run
from pydantic import SecretStr

from blocks.environment import Environment, load_environment
from blocks.github import GitHub, Status
from flows import github_feedback, unheard
from flows.github_feedback import told_github
from flows.github_shown import UNHEARD
from flows.reconcile import reconcile
from releases.problem import Failed
from tests.flows.test_reconcile_flow import environment, goes_live, read
from tests.github.server import TOKEN, FakeGitHub, Trouble, running

pytestmark = pytest.mark.usefixtures("server")
COMMIT, FORMER = "a" * 40, "b" * 40
DOWN = Trouble(503)
URL = "https://iris.acme.com"
ran: list[Any] = []


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGitHub]:
    with running() as github:

        def connected() -> GitHub:
            return GitHub(token=SecretStr(TOKEN), api=github.address, patience=0.3)

        monkeypatch.setattr(github_feedback, "connected_github", connected)
        monkeypatch.setattr(unheard, "connected_github", connected)
        yield github


@pytest.fixture
def where(tmp_path: Path) -> Environment:
    return environment(tmp_path / "models", branch=None, tags="v*")


@flow(name="release")
def release(
    environment: str, commit: str, between: Callable[[], object], ends: Callable[[Any], None]
) -> None:
    where = load_environment(environment)
    with told_github(where, where.watched("iris"), commit) as github:
        github.begins(commit)
        for sent in github.sent:
            sent.result()
        between()
        ends(github)
    ran.append(flow_run.id)


def lives(github: github_feedback.Feedback) -> None:
    github.is_live(URL)


def fails(_github: github_feedback.Feedback) -> None:
    ran.append(flow_run.id)
    raise Failed("the image cannot be built")


def goes_away(fake: FakeGitHub, trouble: Trouble = DOWN) -> Callable[[], object]:
    def go() -> None:
        fake.always = trouble

    return go


def play(where: Environment, between: Callable[[], object], ends: Callable[[Any], None] = lives) -> Any:
    release(where.name, COMMIT, between, ends, return_state=True)
    return ran[-1]


def look(where: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    """What reconcile does about GitHub; the rest has tests of its own."""
    for name in ("look_at", "end_tests"):
        monkeypatch.setattr(f"flows.reconcile.{name}", lambda *_: None)
    reconcile(environment=where.name)


def writes(fake: FakeGitHub) -> int:
    return len([method for method, *_ in fake.requests if method != "GET"])


def last(fake: FakeGitHub, commit: str = COMMIT) -> tuple[str, str]:
    told = [one for about, one in fake.statuses if about == commit]
    return told[-1]["state"], told[-1]["description"]


@pytest.mark.parametrize(
    ("ends", "said"),
    [(lives, ("success", f"live at {URL}")), (fails, ("failure", "the image cannot be built"))],
)
@pytest.mark.parametrize("trouble", [Trouble(503), Trouble(0), Trouble(429), Trouble(401)])
def test_reconcile_tells_github_once_what_it_was_away_for(
    where: Environment,
    fake: FakeGitHub,
    monkeypatch: pytest.MonkeyPatch,
    ends: Callable[[Any], None],
    said: tuple[str, str],
    trouble: Trouble,
) -> None:
    run = play(where, goes_away(fake, trouble), ends)
    assert last(fake)[0] == "pending"
    look(where, monkeypatch)
    assert last(fake)[0] == "pending", "it is away still"
    fake.always = None
    look(where, monkeypatch)
    assert last(fake) == said
    assert fake.statuses[-1][1]["context"] == f"model-deploy/{where.name}/iris"
    assert str(run) in fake.statuses[-1][1].get("target_url", str(run))
    assert [(number, one["state"]) for number, one in fake.deployment_statuses] == [
        (1, "in_progress"),
        (1, said[0]),
    ]
    told = writes(fake)
    look(where, monkeypatch)
    assert writes(fake) == told, "once is enough"
    assert UNHEARD not in read(run).tags


def test_a_run_that_github_heard_out_is_not_told_again(
    where: Environment, fake: FakeGitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(where, lambda: None)
    told = len(fake.requests)
    look(where, monkeypatch)
    assert len(fake.requests) == told
    assert last(fake)[0] == "success"


def test_a_deployment_that_could_not_be_opened_is_opened_once(
    where: Environment, fake: FakeGitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.always = Trouble(503)
    play(where, lambda: None)
    fake.always = None
    for _ in range(2):
        look(where, monkeypatch)
    assert last(fake)[0] == "success"
    assert [one["ref"] for one in fake.deployments] == [COMMIT]
    assert [(number, one["state"]) for number, one in fake.deployment_statuses] == [(1, "success")]


def test_what_github_refuses_is_asked_for_once(
    where: Environment, fake: FakeGitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(where, goes_away(fake, Trouble(404)))
    told = len(fake.requests)
    look(where, monkeypatch)
    assert len(fake.requests) == told


def test_a_later_word_on_the_commit_stays_and_what_was_replaced_is_not_shown_as_live(
    where: Environment, fake: FakeGitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(where, goes_away(fake))
    fake.always = None
    goes_live(where, FORMER)  # another run's
    status = {"state": "error", "context": f"model-deploy/{where.name}/iris", "description": "taken back"}
    later = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
    fake.statuses.append((COMMIT, status))
    fake.shown[COMMIT, status["context"]] = {**status, "created_at": later}
    look(where, monkeypatch)
    assert last(fake) == ("error", "taken back")
    assert [(number, one["state"]) for number, one in fake.deployment_statuses] == [
        (1, "in_progress"),
        (1, "inactive"),
    ]


def test_a_commit_that_was_taken_back_is_told_late_too(
    where: Environment, fake: FakeGitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def takes_back(github: github_feedback.Feedback) -> None:
        github.former = FORMER
        lives(github)

    play(where, goes_away(fake), takes_back)
    fake.always = None
    look(where, monkeypatch)
    assert last(fake)[0] == "success"
    assert last(fake, FORMER) == ("error", f"taken back: {COMMIT[:8]} is live again")


def test_what_github_cannot_say_of_the_former_commit_is_not_written_over(
    where: Environment, fake: FakeGitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is away for the one question whether a later run has spoken of it."""

    def takes_back(github: github_feedback.Feedback) -> None:
        github.former = FORMER
        lives(github)

    def status(self: GitHub, repository: str, commit: str, context: str) -> Status | None:
        fake.always = DOWN if commit == FORMER else None
        found = asks(self, repository, commit, context)
        fake.always = None
        return found

    run, asks = play(where, goes_away(fake), takes_back), GitHub.status
    monkeypatch.setattr(GitHub, "status", status)
    look(where, monkeypatch)
    assert last(fake)[0] == "success"
    assert FORMER not in [commit for commit, _ in fake.statuses]
    assert UNHEARD in read(run).tags, "it is asked again"


def test_while_github_is_away_only_one_run_asks_it_and_a_day_later_none(
    where: Environment, fake: FakeGitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [play(where, goes_away(fake)) for _ in range(3)]
    before = len(fake.requests)
    look(where, monkeypatch)
    assert len(fake.requests) == before + 1, "what it shows"
    monkeypatch.setattr(unheard, "GIVE_UP", timedelta(0))
    look(where, monkeypatch)
    assert not any(UNHEARD in read(run).tags for run in runs)


def test_after_a_long_outage_github_is_told_of_a_few_runs_at_a_time_the_oldest_first(
    where: Environment, fake: FakeGitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [play(where, goes_away(fake)) for _ in range(3)]
    fake.always = None
    monkeypatch.setattr(unheard, "AT_ONCE", 2)
    look(where, monkeypatch)
    assert [UNHEARD in read(run).tags for run in runs] == [False, False, True]
    look(where, monkeypatch)
    assert not any(UNHEARD in read(run).tags for run in runs)
