"""Every hour: what the nodes have uploaded becomes a table of log lines in the bucket."""

from datetime import UTC, datetime, timedelta

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from pydantic import BaseModel, Field

from blocks import flow_run_logs
from blocks.cloud_log_export import CloudLogExport
from blocks.cloud_logging import CloudLogging
from blocks.environment import environment_names, load_environment
from blocks.log_expiry import expire_logs
from blocks.log_export import ContainerExport, Exported, waiting
from blocks.log_gaps import forget_gaps, untold_gaps
from blocks.pick_lists import EnvironmentOrAll, ServiceOrAll
from blocks.store import DirectoryStore
from blocks.targets.container_declaration import ContainerDeclaration
from releases.ledger import services_in
from releases.log_export import Hole
from releases.log_segment import Place
from releases.problem import Failed, Problem
from releases.store import Store

LATE = timedelta(minutes=3)  # a segment is uploaded, an entry in Cloud Logging can be found, well before that


class ExportResult(BaseModel):
    """What a run of the flow has exported."""

    environment: str
    until: datetime
    containers: int = 0
    parts: list[str] = Field(default_factory=list)
    lines: int = 0
    raw_bytes: int = 0
    stored_bytes: int = 0
    gaps: list[Hole] = Field(default_factory=list)
    expired: list[str] = Field(default_factory=list)


@flow(name="export-logs", flow_run_name="export logs {environment}")
def export_logs(
    environment: EnvironmentOrAll = "", service: ServiceOrAll = "", until: datetime | None = None
) -> list[ExportResult]:
    """Merge every whole hour's segments into parts, say what is missing, tidy up.

    Args:
        environment: Whose logs; all environments' if empty.
        service: Only this service's; all of them if empty.
        until: Hours before this; the last whole hour if empty.

    """
    end = start_of_hour(until or datetime.now(UTC) - LATE)
    results: list[ExportResult] = []
    problems: list[Problem] = []
    for name in [environment] if environment else environment_names():
        try:
            results.append(export_environment(name, service, end))
        except Problem as problem:  # the other environments are not held up
            problems.append(problem)
    if problems:
        raise Failed("not all logs could be exported", got="\n".join(str(one) for one in problems))
    return results


def export_environment(environment: str, service: str, end: datetime) -> ExportResult:
    """One environment's containers, and what Prefect has logged. Raises Failed, Unreachable."""
    found = load_environment(environment)
    store = found.store
    result, problems = ExportResult(environment=environment, until=end), []
    for (owner, container), places in sorted(waiting(store, environment, service).items()):
        try:
            add(result, export_container(store, owner, environment, container, places, end))
            result.containers += 1
        except Problem as problem:  # the other containers are not held up
            problems.append(problem)
    target = found.target
    if isinstance(target, ContainerDeclaration):
        for owner in sorted({service} if service else services_in(store, environment)):
            try:
                add(result, export_cloud_log(store, target.cloud_logging, owner, environment, end))
            except Problem as problem:
                problems.append(problem)
    for hour in flow_run_logs.hours_due(store, environment, end):
        part = export_flow_runs(store, environment, hour)
        result.parts += [part] if part else []
    flow_run_logs.reach(store, environment, end)
    if isinstance(store, DirectoryStore):
        result.expired = expire(store, environment)
    untold = untold_gaps(store, environment, service)
    result.gaps = untold.gaps
    report(result)
    forget_gaps(store, untold)
    if problems:
        raise Failed(
            f"the lines of {len(problems)} could not be exported", got="\n".join(str(one) for one in problems)
        )
    return result


@task(task_run_name="{service} {container}", retries=2, retry_delay_seconds=5, cache_policy=NO_CACHE)
def export_container(
    store: Store, service: str, environment: str, container: str, places: list[Place], until: datetime
) -> Exported:
    """One container, hour by hour."""
    return ContainerExport(store, service, environment, container).run(places, until)


@task(task_run_name="flow runs {hour}", retries=2, retry_delay_seconds=5, cache_policy=NO_CACHE)
def export_flow_runs(store: Store, environment: str, hour: datetime) -> str | None:
    """What Prefect has logged in an hour."""
    return flow_run_logs.export_hour(store, environment, hour)


@task(task_run_name="{service} in Cloud Logging", retries=2, retry_delay_seconds=5, cache_policy=NO_CACHE)
def export_cloud_log(
    store: Store, logs: CloudLogging, service: str, environment: str, until: datetime
) -> Exported:
    """One service's entries, hour by hour."""
    return CloudLogExport(store, logs, service, environment).run(until, datetime.now(UTC) - LATE)


@task(task_run_name="expired days", cache_policy=NO_CACHE)
def expire(store: DirectoryStore, environment: str) -> list[str]:
    """Logs that are older than they are kept; in a bucket its lifecycle sees to that."""
    return expire_logs(store, environment, datetime.now(UTC).date())


def add(result: ExportResult, done: Exported) -> None:
    """Count it in."""
    result.parts += done.parts
    result.lines += done.lines
    result.raw_bytes += done.raw_bytes
    result.stored_bytes += done.stored_bytes


def report(result: ExportResult) -> None:
    """For the UI: what there is now, and every gap with its bounds."""
    ratio = result.raw_bytes / result.stored_bytes if result.stored_bytes else 0
    text = (
        f"# Logs of {result.environment} until {result.until:%Y-%m-%d %H:%M} UTC\n\n"
        f"{result.lines} lines in {len(result.parts)} objects, "
        f"{result.raw_bytes / 1e6:.1f} MB as {result.stored_bytes / 1e6:.1f} MB ({ratio:.1f}:1), "
        f"{len(result.gaps)} new gaps, {len(result.expired)} days expired"
    )
    create_markdown_artifact(text, key=f"logs-{result.environment}")
    for gap in result.gaps:
        get_run_logger().warning(
            "lines are missing: container %s, file %s, bytes %s to %s: %s",
            gap.container[:12],
            gap.file,
            gap.start,
            "?" if gap.end is None else gap.end,
            gap.reason,
        )
    if result.gaps:
        rows = [gap.model_dump() for gap in result.gaps]
        create_table_artifact(
            rows, key=f"log-gaps-{result.environment}", description="Lines that are missing"
        )


def start_of_hour(moment: datetime) -> datetime:
    """Its hour's first moment, in UTC."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
