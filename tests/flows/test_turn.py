"""A check gives way to a newer one of its pull request, and to nothing else."""

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.flow_engine import run_flow
from prefect.states import Running

from blocks.pushed_runs import tags_of_start
from flows.turn import stop_if_newer_check
from releases.problem import Superseded
from releases.pull_request import Check

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
