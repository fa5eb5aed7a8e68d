"""One release at a time per service and environment; the newest of those that wait goes on."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
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
from prefect.states import Failed as FailedState

from blocks.pushed_runs import PUSHED, UNREACHABLE, check_tags, tags_of
from flows import ctrl_c
from flows.stopwatch import say
from releases.approval import Expired, Rejected
from releases.freeze import Frozen
from releases.problem import Cancelled, Superseded, Unreachable

# Prefect logs every look at a taken place as an error. A level would not outlive its set-up of logging.
logging.getLogger("prefect._internal.concurrency").addFilter(
    lambda record: "ConcurrencySlotAcquisition" not in record.getMessage()
)

LEASE_SECONDS = 60.0  # a run that was killed frees its place this much later
LOOK_SECONDS = 1.0
BUSY_SECONDS = 3.0  # a place that is free is not taken for held because Prefect is slow to say so
LONGEST_WAIT = 3600.0
SAY_SECONDS = 300.0  # one that waits and says nothing for long is taken for dead: see flows/reconcile.py
GOING = [StateType.RUNNING, StateType.PENDING]
NEVER_RESUMED = "and never resumed."
ENDING = (StateType.CANCELLING, StateType.CANCELLED)
_looked: dict[UUID, float] = {}  # when a run's state was last asked for


def never() -> bool:
    """Whether a run that no push has started is still the newest, where another came after it."""
    return False


@contextmanager
def turn(
    service: str, environment: str, title: str, still_newest: Callable[[], bool] = never
) -> Iterator[None]:
    """Hold the service's place in the environment; the run is called `title`.

    `still_newest`: asked when pushes have started newer runs, since they may have come late.
    Raises Superseded, and Unreachable after an hour.
    """
    name, tags = _place(service, environment), tags_of(service, environment)
    run = _announce(name, tags, title)
    deadline, say_at = time.monotonic() + LONGEST_WAIT, float("-inf")
    while True:
        held = _hold(name)
        try:
            held.__enter__()
        except TimeoutError as error:
            _stop_if_superseded(run, tags, still_newest)
            if time.monotonic() > deadline:
                raise Unreachable(f"another release of {service} holds {environment} for an hour") from error
            if time.monotonic() > say_at:
                say(f"waiting: another release of {service} is going on in {environment}")
                say_at = time.monotonic() + SAY_SECONDS
            continue
        try:
            _stop_if_superseded(run, tags, still_newest)  # a newer one may have come in the meantime
            yield
        finally:
            held.__exit__(None, None, None)
        return


def turn_if_free(service: str, environment: str) -> AbstractContextManager[bool]:
    """Hold the service's place where nobody else does: whether it is held."""
    return place_if_free(_place(service, environment))


@contextmanager
def place_if_free(name: str) -> Iterator[bool]:
    """Hold a place where nobody else does: whether it is held."""
    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name(name, 1)
    held = _hold(name, BUSY_SECONDS)
    try:
        held.__enter__()
    except TimeoutError:
        yield False
        return
    try:
        yield True
    finally:
        held.__exit__(None, None, None)


def stop_if_newer_check() -> None:
    """Give way to a newer check of the same pull request that has begun. Raises Superseded, Cancelled.

    One that a person has started belongs to no delivery, and gives way to none.
    """
    run_id = current_run()
    if run_id is None:
        return
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(run_id)
    tags = check_tags(run.tags)  # the others differ from delivery to delivery
    if tags:
        _stop_if_superseded(run, tags, never)


def stop_if_cancelled(*, anew: bool = False) -> None:
    """Notice a cancel from the UI, also where no worker is there to carry it out. Raises Cancelled.

    To be called wherever the run may end: the server is asked at most once a second. `anew`: it is asked in
    any case, before what cannot be taken back.
    """
    if ctrl_c.pressed():
        raise Cancelled
    run_id = current_run()
    if run_id is None:
        return
    if not anew and time.monotonic() - _looked.get(run_id, -LOOK_SECONDS) < LOOK_SECONDS:
        return
    _looked[run_id] = time.monotonic()
    try:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(run_id).state
    except httpx.HTTPError:  # Prefect's server is away: no reason to end a deploy
        return
    if state is not None and state.type in ENDING:
        raise Cancelled


def name_the_end(flow: Any, flow_run: FlowRun, state: State[Any]) -> None:  # noqa: ARG001 - Prefect's names
    """A flow's hook: what was superseded, rejected, frozen, expired or cancelled did not fail."""
    try:
        ended_by: object = state.result(raise_on_failure=False)
    except BaseException as error:  # noqa: BLE001 - a crash is raised whatever was asked for
        ended_by = error
    if isinstance(ended_by, Superseded | Rejected | Expired | Frozen):
        end: State[Any] = CancelledState(name=type(ended_by).__name__, message=str(ended_by))
    elif (state.message or "").endswith(NEVER_RESUMED):  # the server's own verdict replaced ours
        end = CancelledState(name=Expired.__name__, message="Nobody answered in time.")
    elif isinstance(ended_by, Cancelled) or ctrl_c.pressed():
        end = CancelledState(message="Cancelled by a person; what was live before is live.")
    elif isinstance(ended_by, Unreachable):
        end = FailedState(name=UNREACHABLE, message=str(ended_by))  # reconcile may try it again
    else:
        return
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(flow_run.id, end, force=True)


def current_run() -> UUID | None:
    """The id of the flow run that we are in."""
    context = FlowRunContext.get()
    return context.flow_run.id if context and context.flow_run else None


def _place(service: str, environment: str) -> str:
    return f"release-{environment}-{service}"


def _hold(name: str, seconds: float = LOOK_SECONDS) -> AbstractContextManager[None]:
    return concurrency(
        name,
        timeout_seconds=seconds,
        lease_duration=LEASE_SECONDS,
        strict=True,
        raise_on_lease_renewal_failure=False,  # a Prefect outage must not end a deploy
    )


def _announce(name: str, tags: list[str], title: str) -> FlowRun | None:
    run_id = current_run()
    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name(name, 1)
        if run_id is None:
            return None
        run = client.read_flow_run(run_id)
        client.update_flow_run(run_id, name=title, tags={*run.tags, *tags})
        return run


def _stop_if_superseded(run: FlowRun | None, tags: list[str], still_newest: Callable[[], bool]) -> None:
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
    late = bool(newer) and all(PUSHED in other.tags for other in newer)  # or it was pushed before us
    if newer and not (late and still_newest()):
        raise Superseded("a newer release has been asked for meanwhile", got=f"flow run {newer[0].name}")
