"""What reconcile says of a repair: started, going on, or failed; and how the command line ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import BlockDocumentUpdate
from prefect.states import Completed, Crashed, Failed, Running, Scheduled, State

from blocks import pushed_runs
from blocks.environment import Environment
from blocks.remote import Refs
from deployments import reconcile_command
from flows import reconcile as story
from releases.problem import BadInput
from releases.problem import Failed as EndsWith1
from releases.reconcile import Seen
from releases.trigger import Watched
from tests.blocks.buckets import cloud_store
from tests.flows.test_reconcile_flow import environment, goes_live
from tests.sandbox.conftest import Cloud

pytestmark = pytest.mark.usefixtures("server")
COMMIT = "a" * 40


@flow(name="rollback")
def rollback(service: str, to: str, environment: str) -> None: ...


@pytest.fixture
def where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    """Where release 1 is live, and its node was told to keep another."""

    def store(_deployment: str, given: dict[str, Any], tags: list[str], key: str) -> UUID:
        with get_client(sync_client=True) as client:
            made = client.create_deployment(client.create_flow(rollback), f"rollback-{given['environment']}")
            return client.create_flow_run_from_deployment(
                made, parameters=given, tags=tags, idempotency_key=key
            ).id

    monkeypatch.setattr(pushed_runs, "_store", store)
    monkeypatch.setattr(story, "see", lambda _where, _release: {"node": Seen(wanted=7, live=7)})
    made = environment(tmp_path / "models", branch=None, tags="v*", reconcile="repair")
    made.services = []  # nothing is pushed
    made.save(made.name, overwrite=True)
    goes_live(made, COMMIT)
    return made


def look(where: Environment) -> story.Row:
    (row,) = story.reconcile(environment=where.name).rows
    return row


def repair_of(where: Environment) -> UUID:
    run = pushed_runs.read_repair("iris", where.name, 1)
    assert run is not None
    return run.id


def ends(run: UUID, state: State[Any]) -> None:
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run, state, force=True)


@pytest.mark.parametrize("going", [Scheduled(), Running()])
def test_a_repair_is_started_once_and_then_said_to_be_going_on(where: Environment, going: State[Any]) -> None:
    row = look(where)
    run = repair_of(where)
    assert row.done == f"release 1 is brought back: started run {run}"
    ends(run, going)
    row = look(where)
    assert row.done.startswith("release 1 is brought back: run ")
    assert row.done.endswith(f" is {going.name}")
    assert (row.mending, row.found) == (True, "node: the node was told to keep release 7")
    assert repair_of(where) == run


@pytest.mark.parametrize("end", [Failed(), Crashed(), Completed()])
def test_a_repair_that_has_not_mended_it_is_said_to_be_over_with_what_to_type(
    where: Environment, end: State[Any]
) -> None:
    look(where)
    ends(repair_of(where), end)
    for _ in range(2):
        row = look(where)
        assert (row.mending, row.done) == (False, "")
        assert f"has ended as {end.name} and is not repeated" in row.found
        assert row.found.endswith(f"next: model-deploy rollback iris --to 1 --environment {where.name}")


def test_what_went_live_after_it_was_read_is_no_drift(
    where: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another release ends between the look at the ledger and the turn: it must not be taken back."""

    @contextmanager
    def after_another(_service: str, _environment: str) -> Iterator[bool]:
        for _ in range(6):
            goes_live(where, "b" * 40)
        yield True

    monkeypatch.setattr(story, "turn_if_free", after_another)
    assert look(where).found == ""
    assert pushed_runs.read_repair("iris", where.name, 1) is None


def test_drift_is_found_and_mended_while_the_repository_does_not_answer(
    where: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def refused(source: str) -> Refs:
        asked.append(source)
        raise EndsWith1("the repository cannot be asked")

    monkeypatch.setattr(story, "read_refs", refused)
    for name in ("iris", "other"):
        watched = Watched(name=name, repository="acme/models", source=str(tmp_path / "models"))
        where.services = [*where.services, watched]
    where.save(where.name, overwrite=True)
    result = story.reconcile(environment=where.name)
    iris, other = result.rows
    assert iris.found == "the repository cannot be asked; node: the node was told to keep release 7"
    assert iris.done == f"release 1 is brought back: started run {repair_of(where)}"
    assert other.found == "the repository cannot be asked"
    assert result.left == [iris, other], "what did not answer is not as it should be"
    assert len(asked) == 1, "a repository is asked once, whatever it answers"


def test_an_environment_that_cannot_be_read_or_lost_its_bucket_does_not_stop_the_next_one(
    where: Environment, cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, newer = (environment(tmp_path / name / "models") for name in ("gone", "newer"))
    gone.store = cloud_store(cloud, tmp_path)
    gone.save(gone.name, overwrite=True)
    cloud.world.buckets.pop("kept")
    monkeypatch.setattr(story, "environment_names", lambda: [newer.name, gone.name, where.name])
    with get_client(sync_client=True) as client:
        client.update_block_document(
            UUID(newer.document), BlockDocumentUpdate(data={"rules": "of a newer one"})
        )
    result = story.reconcile()
    Environment.delete(newer.name)
    assert [(row.environment, row.service) for row in result.left] == [
        (newer.name, ""),
        (gone.name, ""),
    ]
    assert result.left[0].found == f"the environment {newer.name} cannot be read"
    assert result.rows[-1].done == f"release 1 is brought back: started run {repair_of(where)}"


def test_a_wrong_name_is_the_mistake_of_who_gave_it() -> None:
    with pytest.raises(BadInput, match="there is no environment nobody-made-it"):
        story.reconcile(environment="nobody-made-it")


DRIFT = "node: the node serves release 7"


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"found": DRIFT}, 1),
        ({"found": DRIFT, "done": "settled 1 claims and 0 runs that had died"}, 1),
        ({"found": DRIFT, "done": "release 1 is brought back: …", "mending": True}, 0),
        ({"found": "the bucket is gone", "service": ""}, 1),
        ({"done": "settled 1 claims and 0 runs that had died"}, 0),
        ({}, 0),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_the_command_ends_with_1_where_nothing_mends_what_was_found(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    row: dict[str, Any],
    code: int,
    as_json: bool,
) -> None:
    rows = [story.Row(**{"environment": "production", "service": "iris", **row})]
    monkeypatch.setattr(story, "reconcile", lambda environment: story.ReconcileResult(rows=rows))
    monkeypatch.setattr(reconcile_command, "connected", lambda **_: _nothing())
    with pytest.raises(EndsWith1, match="1 services are not") if code else _nothing():
        reconcile_command.reconcile(as_json=as_json)
    named = "production: the bucket is gone" if rows[0].service == "" else "production/iris: "
    assert (named in capsys.readouterr().out) != as_json


@contextmanager
def _nothing() -> Iterator[None]:
    yield
