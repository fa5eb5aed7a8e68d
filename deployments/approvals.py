"""What waits for a person, as Prefect's server has it: list it, answer it, and name what nobody answered."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.client.schemas.sorting import FlowRunSort
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import PrefectHTTPStatusError
from prefect.input import read_flow_run_input

from flows.approval import WAITS

EXPIRY = "model-deploy: an approval that nobody gave in time has expired"


@dataclass(frozen=True)
class Waiting:
    """A run that waits for a person."""

    run: UUID
    name: str
    text: str
    expires: datetime | None

    @property
    def short(self) -> str:
        """Enough of the id to type."""
        return str(self.run)[:13]


def waiting() -> list[Waiting]:
    """The oldest first."""
    ours = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[WAITS]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PAUSED])),
    )
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(flow_run_filter=ours, sort=FlowRunSort.EXPECTED_START_TIME_ASC)
    return [_waiting(run) for run in runs]


def answer(meant: Waiting, decision: str, by: str, reason: str) -> str:
    """Answer as the form in the UI does; why the server does not take it, else empty."""
    given = {"decision": decision, "by": by, "reason": reason}
    try:
        with get_client(sync_client=True) as client:
            result = client.resume_flow_run(meant.run, run_input=given)
    except PrefectHTTPStatusError as error:
        if error.response.status_code != HTTPStatus.CONFLICT:
            raise
        return "somebody has answered it meanwhile"
    if result.status is SetStateStatus.ACCEPT:
        return ""
    return str(getattr(result.details, "reason", "") or result.status)


def ensure_expiry() -> None:
    """Have the server call a run `Expired` that nobody answered; by itself it says `Failed`."""
    with get_client(sync_client=True) as client:
        if not client.read_automations_by_name(EXPIRY):
            client.create_automation(expiry())


def expiry() -> AutomationCore:
    """A run fails while it waits for a person in one case only: its time is over."""
    return AutomationCore(
        name=EXPIRY,
        trigger=EventTrigger(
            expect={"prefect.flow-run.Failed"},
            for_each={"prefect.resource.id"},
            match_related=ResourceSpecification(
                {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{WAITS}"}
            ),
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[
            ChangeFlowRunState(
                name="Expired",
                state=StateType.CANCELLED,
                message="Nobody answered in time. What was live before is live.",
            )
        ],
    )


def _waiting(run: FlowRun) -> Waiting:
    details = run.state.state_details if run.state else None
    keyset = details.run_input_keyset if details else None
    text: Any = read_flow_run_input(keyset["description"], run.id) if keyset else None
    return Waiting(run.id, run.name, text or "", details.pause_timeout if details else None)
