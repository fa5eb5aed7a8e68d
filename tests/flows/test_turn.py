"""A check gives way to a newer one of its pull request only; a run that waits for its turn says so."""

from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from uuid import uuid4

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import FlowRun
from prefect.flow_engine import run_flow
from prefect.states import Running

from blocks.pushed_runs import tags_of_start
from flows import turn as places
from flows.turn import stop_if_newer_check, turn, turn_if_free
from releases.problem import Superseded
from releases.pull_request import Check
from tests.sandbox.conftest import eventually

pytestmark = pytest.mark.usefixtures("server")
CHECK = Check(
    service="iris",
    environment="local",
    repository="acme/models",
    pull_request=7,
    ref="a" * 40,
    source="https://github.com/acme/models.git",
    path="",
)


@flow
def checking() -> None:
    stop_if_newer_check()


def stored(*tags: str, running: bool = False) -> FlowRun:
    with get_client(sync_client=True) as client:
        run = client.create_flow_run(checking, tags=tags)
        if running:
            client.set_flow_run_state(run.id, Running(), force=True)
        return run


def test_a_newer_commit_of_the_pull_request_supersedes_a_check_whatever_delivery_brought_it() -> None:
    older = stored(*tags_of_start(CHECK), "delivery:1")
    stored(*tags_of_start(CHECK), "delivery:2", running=True)
    with pytest.raises(Superseded):
        run_flow(checking, flow_run=older)


def test_a_check_that_a_person_started_gives_way_to_no_other_flow() -> None:
    by_hand = stored("model-deploy")
    stored("model-deploy", running=True)
    run_flow(checking, flow_run=by_hand)


@flow
def waiting(environment: str) -> None:
    with turn("iris", environment, "waits"):
        pass


def test_a_run_that_waits_for_its_turn_says_so_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or reconcile takes it for dead."""
    monkeypatch.setattr(places, "SAY_SECONDS", 0.0)
    environment = f"e-{uuid4().hex[:6]}"
    with get_client(sync_client=True) as client:
        run = client.create_flow_run(waiting, parameters={"environment": environment})

    def said() -> list[str]:
        mine = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id]))
        with get_client(sync_client=True) as client:
            return [line.message for line in client.read_logs(mine) if line.message.startswith("waiting:")]

    here = copy_context()  # which server is asked
    waits = partial(here.run, run_flow, waiting, flow_run=run, parameters=run.parameters)
    with ThreadPoolExecutor(1) as pool:
        with turn_if_free("iris", environment) as free:
            assert free
            ran = pool.submit(waits)
            eventually(lambda: len(said()) > 1, 30)
        ran.result()
