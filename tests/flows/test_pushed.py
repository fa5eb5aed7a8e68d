"""What a pushed run finds out before it asks anybody or waits: is it late, is there anything to do?"""

from pathlib import Path
from typing import Any

import pytest
from prefect import flow, tags
from prefect.client.orchestration import get_client

from blocks.environment import Environment, load_environment
from blocks.pushed_runs import PUSHED, UNSURE, read_attempts, tags_of
from flows.pushed import Pushed
from flows.turn import name_the_end
from releases.reconcile import Ended
from tests.blocks.test_remote import Repository
from tests.flows.test_reconcile_flow import environment, goes_live, read, waits_for_a_yes

pytestmark = pytest.mark.usefixtures("server")


@flow(name="release", on_failure=[name_the_end])
def release(environment: str, ref: str, branch: str) -> None:
    where = load_environment(environment)
    Pushed(where, "iris", where.services[0].address, ref, branch).begin()


def ended(where: Environment, commit: str, branch: str, *more: str) -> str:
    with tags(*tags_of("iris", where.name), PUSHED, *more):
        state = release(where.name, commit, branch, return_state=True)
    with get_client(sync_client=True) as client:
        after: Any = client.read_flow_run(state.state_details.flow_run_id).state
    return str(after.name)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "models")
    made.commit("iris/a")
    return made


def test_a_push_that_does_not_say_what_it_touches_does_nothing_where_it_touches_nothing(
    repository: Repository,
) -> None:
    where = environment(repository.path, path="iris")
    goes_live(where, repository.git("rev-parse", "HEAD"))
    repository.git("commit", "--quiet", "--allow-empty", "-m", "nothing")
    other = repository.commit("rose/b")
    assert ended(where, other, "main", UNSURE) == "NothingToDo"
    (attempt,) = read_attempts("iris", where.name)
    assert attempt.ended is Ended.superseded, "the commit was not tried: what comes next compares with before"
    assert ended(where, other, "main") == "Completed", "GitHub has said that it touches the service"

    mine = repository.commit("iris/c")
    assert ended(where, other, "main", UNSURE) == "Superseded", "before anybody is asked to approve it"
    assert ended(where, mine, "main", UNSURE) == "Completed"


def test_a_tag_on_what_is_live_starts_nothing(repository: Repository) -> None:
    where = environment(repository.path, tags="v*")
    first, second = repository.git("rev-parse", "HEAD"), repository.commit("iris/b")
    goes_live(where, second)
    assert ended(where, second, "", "tag:v1.1") == "NothingToDo", "`release: auto` has made it"
    repository.git("tag", "v1.2", first)
    assert ended(where, first, "", "tag:v1.2") == "Completed", "the way back by a tag"


def test_an_older_tag_that_arrives_after_a_newer_one_never_goes_back(repository: Repository) -> None:
    where = environment(repository.path, tags="*v*")
    first, second = repository.git("rev-parse", "HEAD"), repository.commit("iris/b")
    for tag, commit in {"v1.0": first, "v1.1": second, "rose-v7": first, "nightly-v": second}.items():
        repository.git("tag", tag, commit)
    assert ended(where, first, "", "tag:v1.0") == "Superseded"
    assert ended(where, second, "", "tag:v1.1") == "Completed"
    assert ended(where, first, "", "tag:rose-v7") == "Completed", "iris and rose have versions of their own"
    assert ended(where, first, "", "tag:nightly-v") == "Completed", "what is no version has no order"
    repository.git("tag", "--force", "v1.1", first)
    assert ended(where, second, "", "tag:v1.1") == "Superseded", "the tag was moved since"


def test_a_tag_that_waits_for_its_turn_gives_way_to_no_older_one(repository: Repository) -> None:
    where = environment(repository.path, tags="v*")
    first, second = repository.git("rev-parse", "HEAD"), repository.commit("iris/b")
    for tag, commit in {"v1.0": first, "v1.1": second}.items():
        repository.git("tag", tag, commit)
    found = {}

    @flow
    def waits(commit: str) -> bool:
        return Pushed(where, "iris", str(repository.path), commit, "").may_be_newest()

    for tag, commit in {"v1.0": first, "v1.1": second, "": second}.items():
        with tags(*([PUSHED, f"tag:{tag}"] if tag else [])):
            found[tag] = waits(commit)
    assert found == {"v1.0": False, "v1.1": True, "": False}, "what a person asks for gives way to any later"


def test_nobody_is_asked_any_more_about_a_commit_that_a_newer_push_has_left_behind(
    repository: Repository,
) -> None:
    where = environment(repository.path, path="iris")
    old, beside = waits_for_a_yes(where, repository.git("rev-parse", "HEAD")), repository.commit("rose/b")
    assert ended(where, beside, "main") == "Completed"
    assert read(old.id).state_name == "Suspended", "the newer commit has nothing to do with the service"
    new = repository.commit("iris/b")
    assert ended(where, new, "main") == "Completed"
    assert read(old.id).state_name == "Superseded"
