"""One release at a time per service and environment; the newest of those that wait goes on."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.concurrency.sync import concurrency
from prefect.context import FlowRunContext
from prefect.states import Cancelled as CancelledState

from releases.approval import Expired, Rejected
from releases.problem import Cancelled, Superseded, Unreachable

# Prefect logs every look at a place that is taken as an error.
logging.getLogger("prefect._internal.concurrency").setLevel(logging.CRITICAL)

LEASE_SECONDS = 60.0  # a run that was killed frees its place this much later
LOOK_SECONDS = 1.0
LONGEST_WAIT = 3600.0
GOING = [StateType.RUNNING, StateType.PENDING]
NEVER_RESUMED = "and never resumed."
ENDING = (StateType.CANCELLING, StateType.CANCELLED)


@contextmanager
def turn(service: str, environment: str, title: str) -> Iterator[None]:
    """Hold the service's place in the environment; the run is called `title`.

    Raises Superseded, and Unreachable after an hour.
    """
    name = f"release-{environment}-{service}"
    tags = [f"service:{service}", f"environment:{environment}"]
    run = _announce(name, tags, title)
    deadline, said = time.monotonic() + LONGEST_WAIT, False
    while True:
        held = concurrency(
            name,
            timeout_seconds=LOOK_SECONDS,
            lease_duration=LEASE_SECONDS,
            strict=True,
            raise_on_lease_renewal_failure=False,  # a Prefect outage must not end a deploy
        )
        try:
            held.__enter__()
        except TimeoutError as error:
            _stop_if_superseded(run, tags)
            if time.monotonic() > deadline:
                raise Unreachable(f"another release of {service} holds {environment} for an hour") from error
            if not said:
                get_run_logger().info(
                    "waiting: another release of %s is going on in %s", service, environment
                )
                said = True
            continue
        try:
            yield
        finally:
            held.__exit__(None, None, None)
        return


def stop_if_cancelled() -> None:
    """Notice a cancel from the UI, also where no worker is there to carry it out. Raises Cancelled."""
    run_id = current_run()
    if run_id is None:
        return
    try:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(run_id).state
    except httpx.HTTPError:  # Prefect's server is away: no reason to end a deploy
        return
    if state is not None and state.type in ENDING:
        raise Cancelled


def name_the_end(flow: Any, flow_run: FlowRun, state: State[Any]) -> None:  # noqa: ARG001 - Prefect's names
    """A flow's hook: superseded, rejected, expired and cancelled runs are neither failed nor crashed."""
    try:
        ended_by: object = state.result(raise_on_failure=False)
    except BaseException as error:  # noqa: BLE001 - a crash is raised whatever was asked for
        ended_by = error
    if isinstance(ended_by, Superseded | Rejected | Expired):
        end: State[Any] = CancelledState(name=type(ended_by).__name__, message=str(ended_by))
    elif (state.message or "").endswith(NEVER_RESUMED):  # the server's own verdict replaced ours
        end = CancelledState(name=Expired.__name__, message="Nobody answered in time.")
    elif isinstance(ended_by, Cancelled):
        end = CancelledState(message="Cancelled by a person; what was live before is live.")
    else:
        return
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(flow_run.id, end, force=True)


def current_run() -> UUID | None:
    """The id of the flow run that we are in."""
    context = FlowRunContext.get()
    return context.flow_run.id if context and context.flow_run else None


def _announce(name: str, tags: list[str], title: str) -> FlowRun | None:
    run_id = current_run()
    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name(name, 1)
        if run_id is None:
            return None
        run = client.read_flow_run(run_id)
        client.update_flow_run(run_id, name=title, tags={*run.tags, *tags})
        return run


def _stop_if_superseded(run: FlowRun | None, tags: list[str]) -> None:
    stop_if_cancelled()
    if run is None:
        return
    same = FlowRunFilter(
        tags=FlowRunFilterTags(all_=tags), state=FlowRunFilterState(type=FlowRunFilterStateType(any_=GOING))
    )
    with get_client(sync_client=True) as client:
        others = client.read_flow_runs(flow_run_filter=same)
    mine = run.created or datetime.now(UTC)
    newer = [other for other in others if other.id != run.id and other.created and other.created > mine]
    if newer:
        raise Superseded("a newer release has been asked for meanwhile", got=f"flow run {newer[0].name}")
