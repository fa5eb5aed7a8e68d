"""Flow runs that pushes have started: how they are stored in Prefect, and what became of them."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterIdempotencyKey,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
    LogFilter,
    LogFilterFlowRunId,
    LogFilterTimestamp,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import Crashed

from releases.pull_request import Check
from releases.reconcile import Attempt, Ended
from releases.trigger import Start

RELEASE = "release/release"  # flow and deployment, see prefect.yaml
ROLLBACK = "rollback/rollback"
CHECK = "check/check"
PUSHED = "pushed"
TAG = "tag:"
OF_CHECK, OF_PULL_REQUEST = "check:", "pull-request:"
UNSURE = "files:unknown"  # the run finds out whether the push concerns its service
MOST = 200  # runs that are looked at
SUPERSEDED, UNREACHABLE, FROZEN = "Superseded", "Unreachable", "Frozen"  # states, named by flows/turn.py
# Of those that are cancelled.
NOT_BY_A_PERSON = {
    SUPERSEDED: Ended.superseded,
    "NothingToDo": Ended.superseded,
    FROZEN: Ended.frozen,
}


def tags_of(service: str, environment: str) -> list[str]:
    """What every run of a service in an environment is tagged with."""
    return [f"service:{service}", f"environment:{environment}"]


def tags_of_checks(service: str, environment: str) -> list[str]:
    """What every check of a service is tagged with; the environment's builder is used."""
    return [f"{OF_CHECK}{service}", f"environment:{environment}"]


def is_check(run: FlowRun) -> bool:
    """Whether it is of a pull request."""
    return any(tag.startswith(OF_CHECK) for tag in run.tags)


def deployment_of(start: Start | Check) -> str:
    """Which deployment runs it."""
    return RELEASE if isinstance(start, Start) else CHECK


def parameters_of(start: Start | Check) -> dict[str, Any]:
    """What its flow is given."""
    if isinstance(start, Check):
        return {
            "source": start.source,
            "ref": start.ref,
            "path": start.path,
            "environment": start.environment,
            "pull_request": start.pull_request,
        }
    return {
        "source": start.source,
        "ref": start.ref,
        "path": start.path,
        "environment": start.environment,
        "branch": start.branch,
    }


def tags_of_start(start: Start | Check) -> list[str]:
    """What its run is found by."""
    if isinstance(start, Check):
        pull_request = f"{OF_PULL_REQUEST}{start.repository}#{start.pull_request}"
        return [*tags_of_checks(start.service, start.environment), pull_request]
    said = [f"{TAG}{start.tag}"] if start.tag else [f"branch:{start.branch}"]
    unsure = [UNSURE] if start.unsure else []
    return [*tags_of(start.service, start.environment), *said, *unsure, PUSHED]


def check_tags(tags: Iterable[str]) -> list[str]:
    """Of a run's tags those that every check of the pull request's service has."""
    return [tag for tag in tags if tag.startswith((OF_CHECK, OF_PULL_REQUEST))]


def start_release(start: Start, after: str) -> UUID:
    """Store the run that the push would have started; the same one where it was stored meanwhile.

    `after`: the run of the same commit that this one comes after, if it is not the first.
    """
    key = replace(start, back=bool(after)).key(f"after-{after}")
    return _store(RELEASE, parameters_of(start), tags_of_start(start), key)


def read_repair(service: str, environment: str, release: int) -> FlowRun | None:
    """The run that was to bring the release back, if one was started."""
    same = FlowRunFilterIdempotencyKey(any_=[_repair_key(service, environment, release)])
    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(flow_run_filter=FlowRunFilter(idempotency_key=same))
    return found[0] if found else None


def start_repair(service: str, environment: str, release: int) -> UUID:
    """Have a release brought back by a rollback to itself: once, whatever comes of it."""
    parameters = {"service": service, "environment": environment, "to": str(release)}
    key = _repair_key(service, environment, release)
    return _store(ROLLBACK, parameters, tags_of(service, environment), key)


def repeat_check(run: FlowRun) -> UUID:
    """Store the check once more that this run has lost; the same one where it was stored meanwhile."""
    tags = [tag for tag in run.tags if tag.startswith((OF_CHECK, OF_PULL_REQUEST, "environment:"))]
    return _store(CHECK, run.parameters, tags, f"check/after-{run.id}")


def read_attempts(service: str, environment: str) -> tuple[Attempt, ...]:
    """What pushes have started, newest first."""
    return tuple(attempt(run) for run in read_runs([*tags_of(service, environment), PUSHED]))


def read_runs(tags: list[str]) -> list[FlowRun]:
    """The newest runs with all of these tags, newest first."""
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=tags)),
            sort=FlowRunSort.EXPECTED_START_TIME_DESC,
            limit=MOST,
        )
    return sorted(runs, key=_created, reverse=True)


def read_running(environment: str) -> list[FlowRun]:
    """Every run that is said to run for a service of the environment."""
    running = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING]))
    tags = FlowRunFilterTags(all_=[f"environment:{environment}"])
    with get_client(sync_client=True) as client:
        return client.read_flow_runs(flow_run_filter=FlowRunFilter(tags=tags, state=running))


def read_crashed(environment: str, since: datetime) -> list[FlowRun]:
    """The environment's runs whose process has died since then."""
    crashed = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.CRASHED]))
    tags = FlowRunFilterTags(all_=[f"environment:{environment}"])
    ended = FlowRunFilterEndTime(after_=since)
    with get_client(sync_client=True) as client:
        return client.read_flow_runs(
            flow_run_filter=FlowRunFilter(tags=tags, state=crashed, end_time=ended), limit=MOST
        )


def attempt(run: FlowRun) -> Attempt:
    """What became of a run."""
    tag = next((one.removeprefix(TAG) for one in run.tags if one.startswith(TAG)), "")
    return Attempt(str(run.id), str(run.parameters.get("ref", "")), _ended(run), _created(run), tag)


def give_up(run: UUID, after: timedelta) -> bool:
    """Say of a run that is shown as running, and has said nothing for so long, that its process is gone.

    Whether it was said: a run that has gone on meanwhile, or has written a line, lives.
    """
    with get_client(sync_client=True) as client:
        if not is_silent(client.read_flow_run(run), after) or _has_spoken(client, run, after):
            return False
        client.set_flow_run_state(run, Crashed(message="The process that ran this is gone."), force=True)
    return True


def is_silent(run: FlowRun, after: timedelta) -> bool:
    """Whether it is shown as running, unchanged for so long; one that waited for a person began anew then."""
    state = run.state
    running = state is not None and state.type is StateType.RUNNING
    return running and state is not None and datetime.now(UTC) - state.timestamp > after


def _has_spoken(client: SyncPrefectClient, run: UUID, within: timedelta) -> bool:
    since = LogFilterTimestamp(after_=datetime.now(UTC) - within)
    lines = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run]), timestamp=since)
    return bool(client.read_logs(lines, limit=1))


def _repair_key(service: str, environment: str, release: int) -> str:
    return f"repair/{environment}/{service}/{release}"


def _store(deployment: str, parameters: dict[str, Any], tags: list[str], key: str) -> UUID:
    with get_client(sync_client=True) as client:
        found = client.read_deployment_by_name(deployment)
        return client.create_flow_run_from_deployment(
            found.id, parameters=parameters, tags=[*tags, "reconcile"], idempotency_key=key
        ).id


def _ended(run: FlowRun) -> Ended:
    state = run.state
    match state.type if state else None:
        case StateType.COMPLETED:
            return Ended.done
        case StateType.FAILED:
            return Ended.lost if state and state.name == UNREACHABLE else Ended.failed
        case StateType.CRASHED:
            return Ended.lost
        case StateType.CANCELLED:
            return NOT_BY_A_PERSON.get((state and state.name) or "", Ended.cancelled)
        case _:
            return Ended.going


def _created(run: FlowRun) -> datetime:
    return run.created or datetime.now(UTC)
