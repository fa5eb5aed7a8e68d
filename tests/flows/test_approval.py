"""A person is asked, through Prefect's real server."""

from contextlib import suppress
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow
from prefect.states import AwaitingRetry

from deployments.approvals import answer, waiting
from flows.approval import approved
from releases.problem import Unreachable
from releases.rules import ApprovalRule, Rules
from tests.flows.test_telling import PROPOSAL

pytestmark = pytest.mark.usefixtures("server")


@flow
def asking() -> None:
    """As a release that meets a registry that is away, once it was approved."""
    approved(cast("Any", SimpleNamespace(rules=Rules())), ApprovalRule(expires=600), PROPOSAL)
    raise Unreachable("the registry does not answer")


def run_it(run: FlowRun) -> FlowRun:
    """As a worker does."""
    with get_client(sync_client=True) as client:
        with suppress(Pause):  # a worker's process ends with it
            run_flow(asking, flow_run=client.read_flow_run(run.id), return_type="state")
        return client.read_flow_run(run.id)


def state_of(run: FlowRun) -> str:
    return cast("Any", run.state).name


def test_a_run_that_was_approved_and_failed_can_be_retried_and_approved_again() -> None:
    with get_client(sync_client=True) as client:
        deployment = client.create_deployment(client.create_flow(asking), "by-hand")
        run = client.create_flow_run_from_deployment(deployment)
        for _ in range(2):
            assert state_of(run_it(run)) == "Suspended"
            (meant,) = (one for one in waiting() if one.run == run.id)
            assert answer(meant, "approve", "ann", "") == ""
            assert answer(meant, "approve", "bob", ""), "one answer only"
            assert state_of(run_it(run)) == "Failed", "it is not asked again before it has failed"
            client.set_flow_run_state(run.id, AwaitingRetry())  # Retry in the UI
