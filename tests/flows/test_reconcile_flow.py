"""What reconcile does about freeze windows, and about runs that ended while they waited for a person."""

import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import LogCreate
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelled, Completed, Crashed, Failed, Running, State, Suspended
from pydantic import SecretStr

from blocks import pushed_runs
from blocks.environment import Environment
from blocks.github import GitHub
from blocks.image_builder import ImageBuilder
from blocks.image_registry import ImageRegistry
from blocks.pushed_runs import OF_CHECK, OF_PULL_REQUEST, PUSHED, attempt, read_runs, tags_of
from blocks.store import DirectoryStore
from blocks.targets.local import LocalTarget
from flows import lost_checks, unheard
from flows import reconcile as story
from flows.approval import WAITS
from flows.turn import NEVER_RESUMED, name_the_end
from releases.freeze import FreezeWindow, Frozen
from releases.problem import Unreachable
from releases.reconcile import Ended
from releases.release import Outcome, Verdict
from releases.rules import Rules
from releases.trigger import Start, Watched
from tests.github.server import TOKEN, FakeGitHub, Trouble, running
from tests.releases.test_swap import release as a_release

pytestmark = pytest.mark.usefixtures("server")
ALWAYS = Rules(freeze=(FreezeWindow(),))


@flow(name="release", on_failure=[name_the_end])
def release(source: str, ref: str, path: str, environment: str) -> None:
    raise Frozen(f"{environment} is frozen until Monday")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    who = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", str(folder)], check=True)
    commit = ["commit", "--quiet", "--allow-empty", "-m", "first"]
    subprocess.run(["git", "-C", str(folder), *who, *commit], check=True)
    return folder


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGitHub]:
    with running() as github:
        block = GitHub(token=SecretStr(TOKEN), api=github.address, patience=1)
        monkeypatch.setattr(unheard, "connected_github", lambda: block)
        yield github


def head_of(repository: Path) -> str:
    argv = ["git", "-C", str(repository), "rev-parse", "main"]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


def environment(repository: Path, rules: Rules | None = None, path: str = "", **options: Any) -> Environment:
    """One of its own for each test, with nothing live."""
    name = f"e{repository.parent.name}"[:20].replace("_", "-").lower() + uuid4().hex[:4]
    watched = Watched(name="iris", repository="acme/models", source=str(repository), path=path)
    made = Environment(
        name=name,
        **{"branch": "main", **options},
        services=[watched],
        rules=rules or Rules(),
        builder=ImageBuilder(),
        registry=ImageRegistry(prefix="localhost:1"),
        target=LocalTarget(home=repository.parent, ports=[1], agent_image="none"),
        store=DirectoryStore(path=repository.parent / "store"),
    )
    made.save(name)
    return made


def parameters(where: Environment, commit: str) -> dict[str, Any]:
    return {"source": where.services[0].address, "ref": commit, "path": "", "environment": where.name}


def stored(where: Environment, commit: str, state: State[Any], *more: str) -> FlowRun:
    with get_client(sync_client=True) as client:
        run = client.create_flow_run(
            release, parameters=parameters(where, commit), tags=[*tags_of("iris", where.name), PUSHED, *more]
        )
        client.set_flow_run_state(run.id, state, force=True)
        return client.read_flow_run(run.id)


def waits_for_a_yes(where: Environment, commit: str) -> FlowRun:
    """A run that a push to main has started."""
    given, tags = (
        {**parameters(where, commit), "branch": "main"},
        [*tags_of("iris", where.name), PUSHED, WAITS],
    )
    with get_client(sync_client=True) as client:
        deployment = client.create_deployment(
            client.create_flow(release), where.name, enforce_parameter_schema=False
        )
        return client.create_flow_run_from_deployment(
            deployment, parameters=given, tags=tags, state=Suspended()
        )


def read(run: UUID) -> FlowRun:
    with get_client(sync_client=True) as client:
        return client.read_flow_run(run)


def test_a_freeze_is_said_and_the_release_starts_when_it_is_over(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[Start, str]] = []

    def start(what: Start, after: str) -> UUID:
        started.append((what, after))
        return uuid4()

    monkeypatch.setattr(story, "start_release", start)
    where, head = environment(repository, ALWAYS), head_of(repository)
    for _ in range(2):
        (row,) = story.reconcile(environment=where.name).rows
        assert row.done == f"the release of {head[:8]} waits: {where.name} is frozen for good"
        assert (row.found, started) == ("", [])

    # What the webhook has started meanwhile was refused: that is no failure of the commit.
    refused = stored(where, head, Suspended())
    state = release(**parameters(where, head), return_state=True)
    with get_client(sync_client=True) as client:
        ran = client.read_flow_run(state.state_details.flow_run_id)
        assert ran.state is not None
        assert ran.state.name == "Frozen"
        client.set_flow_run_state(refused.id, ran.state, force=True)
    assert attempt(read(refused.id)).ended is Ended.frozen

    where.rules = Rules()
    where.save(where.name, overwrite=True)
    (row,) = story.reconcile(environment=where.name).rows
    assert row.done == f"started the release of {head[:8]}: it was refused in a freeze window that is over"
    assert [(what.ref, after) for what, after in started] == [(head, str(refused.id))]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What reconcile has started: the commit, and the key that its run is stored under."""
    keys: list[tuple[str, str]] = []

    def start(_deployment: str, given: dict[str, Any], tags: list[str], key: str) -> UUID:
        keys.append((given["ref"], key))
        with get_client(sync_client=True) as client:
            return client.create_flow_run(release, parameters=given, tags=tags, state=Completed()).id

    monkeypatch.setattr(pushed_runs, "_store", start)
    return keys


def more(repository: Path, message: str, *tags: str) -> str:
    """A commit on main, with tags."""
    git = ["git", "-C", str(repository), "-c", "user.name=t", "-c", "user.email=t@localhost"]
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "-m", message], check=True)
    for tag in tags:
        subprocess.run([*git, "tag", tag], check=True)
    return head_of(repository)


def test_tests_that_have_outlived_their_run_are_ended_and_without_an_engine_the_rest_goes_on(
    repository: Path, monkeypatch: pytest.MonkeyPatch, started: list[tuple[str, str]]
) -> None:
    where, asked = environment(repository), []

    def no_engine() -> int:
        asked.append("end them")
        raise Unreachable("no container engine answers")

    monkeypatch.setattr(story, "end_overdue_tests", no_engine)
    assert story.reconcile(environment=where.name).started
    assert asked == ["end them"]
    assert [commit for commit, _ in started] == [head_of(repository)]


def goes_live(where: Environment, commit: str) -> None:
    made = where.ledger("iris").claim(
        lambda number: a_release(number).model_copy(
            update={"service": "iris", "environment": where.name, "revision": commit}
        )
    )
    outcome = Outcome(number=made.number, verdict=Verdict.confirmed, live=made.number, at=datetime.now(UTC))
    where.ledger("iris").settle(outcome)


def test_a_lost_tag_is_released_also_where_a_branch_is_and_none_leads_back(
    repository: Path, started: list[tuple[str, str]]
) -> None:
    where = environment(repository, tags="v*")
    key = f"push/{where.name}/iris"
    first = head_of(repository)
    goes_live(where, first)
    subprocess.run(["git", "-C", str(repository), "checkout", "--quiet", "-b", "hotfix"], check=True)
    git = ["git", "-C", str(repository), "-c", "user.name=t", "-c", "user.email=t@localhost"]
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "-m", "mend"], check=True)
    subprocess.run([*git, "tag", "v1.0.1"], check=True)
    mended = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    commit = mended.stdout.strip()
    for _ in range(2):
        story.reconcile(environment=where.name)
    assert started == [(commit, f"{key}/{commit}/v1.0.1")], "the key of the webhook's run"

    goes_live(where, commit)  # ahead of the branch: that is no reason to go back to it
    subprocess.run([*git, "checkout", "--quiet", "main"], check=True)
    story.reconcile(environment=where.name)
    subprocess.run([*git, "tag", "v1.0.2", first], check=True)  # in what is live
    story.reconcile(environment=where.name)
    assert len(started) == 1


def test_a_tag_that_leads_back_is_released_where_only_tags_are(
    repository: Path, started: list[tuple[str, str]]
) -> None:
    where = environment(repository, branch=None, tags="v*")
    first = head_of(repository)
    subprocess.run(["git", "-C", str(repository), "tag", "v1.0"], check=True)
    story.reconcile(environment=where.name)
    goes_live(where, first)
    second = more(repository, "wrong", "v1.1")
    story.reconcile(environment=where.name)
    goes_live(where, second)
    subprocess.run(["git", "-C", str(repository), "tag", "v1.2", first], check=True)
    for _ in range(2):
        story.reconcile(environment=where.name)
    key = f"push/{where.name}/iris"
    assert started == [
        (first, f"{key}/{first}/v1.0"),
        (second, f"{key}/{second}/v1.1"),
        (first, f"{key}/{first}/v1.2"),
    ]


NOBODY = "nobody has approved it in time; what was live before is live"


@pytest.mark.parametrize(
    ("ended", "state", "said"),
    [
        (lambda: Cancelled(name="Expired"), "failure", NOBODY),
        (lambda: Failed(message=f"The flow was paused {NEVER_RESUMED}"), "failure", NOBODY),
        (
            Cancelled,
            "error",
            "cancelled while it waited for an approval; what was live before is live",
        ),
    ],
)
def test_a_run_that_ended_while_it_waited_for_a_person_is_shown_as_ended(
    repository: Path, fake: FakeGitHub, ended: Callable[[], State[Any]], state: str, said: str
) -> None:
    where, commit = environment(repository), "a" * 40
    run = stored(where, commit, Suspended(), WAITS)
    assert unheard.tell_the_end(where) == []
    assert not fake.requests, "it waits still"
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, ended(), force=True)
    fake.always = Trouble(503)
    assert unheard.tell_the_end(where) == []
    fake.always = None
    assert len(unheard.tell_the_end(where)) == 1
    assert unheard.tell_the_end(where) == [], "once is enough"
    assert [(about, one["state"], one["description"], one["context"]) for about, one in fake.statuses] == [
        (commit, state, said, f"model-deploy/{where.name}/iris")
    ]
    assert WAITS not in read(run.id).tags


def test_a_later_run_of_the_same_commit_speaks_for_it(repository: Path, fake: FakeGitHub) -> None:
    where, commit = environment(repository), "a" * 40
    run = stored(where, commit, Cancelled(), WAITS)
    stored(where, commit, Completed())
    assert unheard.tell_the_end(where) == []
    assert not fake.requests
    assert WAITS not in read(run.id).tags


def test_a_run_that_was_killed_is_told_to_people_and_ends_on_github(
    repository: Path, fake: FakeGitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(unheard, "tell", lambda _blocks, subject, _body: said.append(subject))
    where, commit = environment(repository), "a" * 40
    context = f"model-deploy/{where.name}/iris"
    run = stored(where, commit, Running())
    block = unheard.connected_github()
    assert block is not None
    block.open_deployment("acme/models", commit, where.name, production=False, description="other")
    block.open_deployment("acme/models", commit, where.name, production=False, description=context)
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, Crashed(), force=True)
    fake.always = Trouble(503)
    assert unheard.tell_the_end(where) == []
    fake.always = None
    assert len(unheard.tell_the_end(where)) == 1
    assert unheard.tell_the_end(where) == [], "once is enough"
    assert said == [f"Failed: {run.name}: its process died"]
    (told,) = fake.statuses
    assert (told[0], told[1]["state"], told[1]["context"]) == (commit, "error", context)
    assert told[1]["description"] == "its process died before it had a verdict"
    assert [(number, one["state"]) for number, one in fake.deployment_statuses] == [(2, "error")]


def test_a_run_that_waits_for_a_yes_to_an_old_commit_is_superseded(
    repository: Path, fake: FakeGitHub, started: list[tuple[str, str]]
) -> None:
    where, old = environment(repository), head_of(repository)
    run = waits_for_a_yes(where, old)
    story.reconcile(environment=where.name)
    assert read(run.id).state_name == "Suspended"
    new = more(repository, "newer")
    (row,) = story.reconcile(environment=where.name).rows
    assert "ended 1 that waited for an approval" in row.done
    assert read(run.id).state_name == "Superseded"
    assert [(about, one["state"], one["description"]) for about, one in fake.statuses] == [
        (old, "error", "a newer commit came while it waited for an approval")
    ]
    assert started[-1][0] == new


@pytest.mark.usefixtures("started")
def test_a_long_run_that_has_just_said_something_is_not_taken_for_dead(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(story, "STUCK", timedelta())
    where, commit = environment(repository), "a" * 40
    alive, dead = stored(where, commit, Running()), stored(where, commit, Running())
    speaks(alive)
    (row,) = story.reconcile(environment=where.name).rows
    assert read(alive.id).state_name == "Running"
    assert read(dead.id).state_name == "Crashed"
    assert row.done.startswith("settled 0 claims and 1 runs that had died")


def speaks(run: FlowRun) -> None:
    """As late as can be, since every moment of silence counts here."""
    late = datetime.now(UTC) + timedelta(hours=1)
    line = LogCreate(name="flow", level=20, message="tagged", timestamp=late, flow_run_id=run.id)
    with get_client(sync_client=True) as client:
        client.create_logs([line])


CHECK = [f"{OF_PULL_REQUEST}acme/models#7", f"{OF_CHECK}iris"]


def checked(where: Environment, commit: str, state: State[Any]) -> FlowRun:
    tags = [*CHECK, f"environment:{where.name}", "delivery:1"]
    given = {**parameters(where, commit), "pull_request": 7}
    with get_client(sync_client=True) as client:
        made = client.create_flow_run(release, parameters=given, tags=tags)
        client.set_flow_run_state(made.id, state, force=True)
    return read(made.id)


def test_a_check_that_was_lost_is_repeated_three_times_in_all(
    repository: Path, fake: FakeGitHub, started: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    where, commit = environment(repository), "b" * 40
    monkeypatch.setattr(lost_checks, "CHECK_STUCK", timedelta())
    checked(where, commit, Failed())
    story.reconcile(environment=where.name)
    assert "b" * 40 not in [one for one, _ in started], "it has had its verdict"
    run = checked(where, commit, Running())
    for attempt_number in range(3):
        story.reconcile(environment=where.name)
        assert read(run.id).state_name == "Crashed"
        mine = [key for one, key in started if one == commit]
        assert mine == [*mine[:-1], f"check/after-{run.id}"] if attempt_number < 2 else len(mine) == 2
        run = read_runs([*CHECK, f"environment:{where.name}"])[0]
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(run.id, Running(), force=True)
    assert {one["context"] for _, one in fake.statuses} == {"model-deploy/check/iris"}
