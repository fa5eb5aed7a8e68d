"""Every five minutes: what a lost webhook would have started, what was left open, what has drifted."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import FlowRun
from pydantic import BaseModel, Field

from blocks.edge import no_answer
from blocks.environment import Environment, environment_names, load_environment
from blocks.image_builder import end_overdue_tests
from blocks.pick_lists import EnvironmentOrAll
from blocks.pushed_runs import (
    give_up,
    is_silent,
    read_repair,
    read_running,
    start_release,
    start_repair,
    tags_of,
)
from blocks.remote import Refs, read_refs
from flows.deploying import settle_open_claims
from flows.lost_checks import give_up_checks, repeat_lost_checks
from flows.missed import Head, heads, judge_head
from flows.pages import told
from flows.pushed import end_outdated
from flows.tagging import tag_version
from flows.turn import turn_if_free
from flows.unheard import tell_the_end
from releases import freeze
from releases.ledger import Entry, services_in
from releases.problem import Problem
from releases.reconcile import Seen, drift
from releases.release import Release
from releases.status import ServiceStatus
from releases.trigger import Watched, start

# Longer than a checkout; a run without its turn that waits takes a free one at once.
STUCK = timedelta(minutes=20)


class Row(BaseModel):
    """What was found of a service in an environment, and what was done about it."""

    environment: str
    service: str = Field("", description="Empty: it is about the environment as a whole.")
    head: str = Field("", description="The commit that its branch, or its newest tag, is at.")
    live: str = ""
    found: str = ""
    done: str = ""
    mending: bool = Field(default=False, description="Whether a run mends all that was found just now.")


class ReconcileResult(BaseModel):
    """What a run of the flow has found and done."""

    rows: list[Row] = Field(default_factory=list)
    started: list[UUID] = Field(default_factory=list)

    @property
    def left(self) -> list[Row]:
        """Where something is not as it should be, and nothing mends it."""
        return [row for row in self.rows if row.found and not row.mending]


@dataclass
class Repositories:
    """Each is asked once per run."""

    known: dict[str, Refs | Problem] = field(default_factory=dict)

    def refs(self, source: str) -> Refs:
        """Its branches and tags. Raises Unreachable, Failed."""
        if source not in self.known:
            try:
                self.known[source] = read_refs(source)
            except Problem as problem:
                self.known[source] = problem
        found = self.known[source]
        if isinstance(found, Problem):
            raise found
        return found


@flow(name="reconcile", flow_run_name="reconcile {environment}")
def reconcile(environment: EnvironmentOrAll = "") -> ReconcileResult:
    """Start what a lost webhook missed, settle what was left open, report and repair what has drifted.

    Args:
        environment: Only this one; all of them if empty.

    """
    result, repositories = ReconcileResult(), Repositories()
    if environment:
        load_environment(environment)  # a wrong name is the mistake of who gave it, and no row
    for name in [environment] if environment else environment_names():
        with others_go_on(name, result):
            look_around(load_environment(name), repositories, result)
        report(name, result)
    end_tests()
    return result


@contextmanager
def others_go_on(environment: str, result: ReconcileResult) -> Iterator[None]:
    """What does not answer in an environment becomes a row, and stops nothing else."""
    try:
        yield
    except Problem as problem:
        row = Row(environment=environment)
        note(row, problem)
        result.rows.append(row)


def look_around(where: Environment, repositories: Repositories, result: ReconcileResult) -> None:
    """All services of one environment, and the runs whose end nobody has told."""
    name, running = where.name, read_running(where.name)
    give_up_checks(running)
    stuck = [run for run in running if is_silent(run, STUCK)]
    with others_go_on(name, result):
        for service in sorted({*services_in(where.store, name), *(one.name for one in where.services)}):
            mine = [run for run in stuck if set(tags_of(service, name)) <= set(run.tags)]
            look_at(where, service, repositories, mine, result)
    for said in tell_the_end(where):
        get_run_logger().info("GitHub was told of %s", said)


def look_at(
    where: Environment,
    service: str,
    repositories: Repositories,
    stuck: list[FlowRun],
    result: ReconcileResult,
) -> None:
    """One service in one environment; what does not answer is said, and never stops the others."""
    row = Row(environment=where.name, service=service)
    result.rows.append(row)
    try:
        settle(where, service, stuck, row)
        live = where.ledger(service).live()
        outdated = end_outdated(where, service)
        if outdated:
            row.done = _said(row.done, f"ended {len(outdated)} that waited for an approval and are outdated")
        checks = repeat_lost_checks(where, service)
        if checks:
            row.done = _said(row.done, f"started {len(checks)} checks again that were lost")
        result.started += checks
        row.live = f"release {live.release.number} ({live.release.version})" if live else ""
        run, answered = try_to_catch_up(where, service, live, repositories, row)
        run = run or mend(where, service, live, row)
        row.mending = row.mending and answered
        result.started += [run] if run else []
        if live and not run and answered:
            tag_version(where, live.release)
    except Problem as problem:
        note(row, problem)


def note(row: Row, problem: Problem) -> None:
    """What is wrong, in the row and in the log."""
    row.found = _said(row.found, problem.what)
    get_run_logger().warning("%s in %s: %s", row.service or "all services", row.environment, problem)


def end_tests() -> None:
    """A controller that was killed leaves its tests running, and there may be no next release to end them."""
    try:
        ended = end_overdue_tests()
    except Problem as problem:  # no engine where this flow runs
        get_run_logger().debug("%s", problem)
        return
    if ended:
        get_run_logger().info("ended %s containers of tests whose run had died", ended)


def settle(where: Environment, service: str, stuck: list[FlowRun], row: Row) -> None:
    """Give claims without an outcome theirs, and end runs whose process is gone, while nobody deploys."""
    open_claims = where.ledger(service).unsettled()
    if not open_claims and not stuck:
        return
    with turn_if_free(service, where.name) as free:
        if not free:
            return
        settle_open_claims(where, service)
        died = [run for run in stuck if give_up(run.id, STUCK)]
    if open_claims or died:
        row.done = f"settled {len(open_claims)} claims and {len(died)} runs that had died"


def catch_up(
    where: Environment, service: str, live: Entry | None, repositories: Repositories, row: Row
) -> UUID | None:
    """Start the release of the branch's head, or of the newest tag, if it was missed."""
    watched = where.watched(service)
    if watched is None:
        return None
    found = heads(where.rule, repositories.refs(watched.address))
    row.head = found[0].commit[:8] if found else ""
    for head in found:
        run = start_if_missed(where, watched, live, head, row)
        if run:
            return run
    return None


def try_to_catch_up(
    where: Environment, service: str, live: Entry | None, repositories: Repositories, row: Row
) -> tuple[UUID | None, bool]:
    """As `catch_up`, and whether the repository has answered: the nodes are looked at in any case."""
    try:
        return catch_up(where, service, live, repositories, row), True
    except Problem as problem:
        note(row, problem)
        return None, False


def start_if_missed(
    where: Environment, watched: Watched, live: Entry | None, head: Head, row: Row
) -> UUID | None:
    """Start the head's release; in a freeze window it is only said."""
    verdict = judge_head(where, watched, live, head)
    if not verdict.start:
        return None
    what = f"the release of {head.commit[:8]}" + (f" ({head.tag})" if head.tag else "")
    try:
        freeze.check(where.name, where.rules.freeze, datetime.now(UTC))
    except freeze.Frozen as frozen:  # a run would only be refused
        row.done = _said(row.done, f"{what} waits: {frozen.what}")
        return None
    wanted = start(where.rule, watched, head.commit, head.branch, tag=head.tag)
    run = start_release(wanted, verdict.after)
    row.done = _said(row.done, f"started {what}: {verdict.why}")
    return run


def mend(where: Environment, service: str, live: Entry | None, row: Row) -> UUID | None:
    """Say how the node differs from the live release; bring that back where the environment wants it."""
    if live is None:
        return None
    with turn_if_free(service, where.name) as free:
        if not free:
            return None
        live = where.ledger(service).live() or live  # another may have gone live since it was read
        found = {name: drift(live.release.number, seen) for name, seen in see(where, live.release).items()}
    drifted = "; ".join(f"{name}: {said}" for name, said in found.items() if said)
    if not drifted:
        return None
    row.found = _said(row.found, drifted)
    get_run_logger().warning("%s in %s: %s", service, where.name, drifted)
    if where.reconcile == "report":
        return None
    return repair(where, live.release, row)


def repair(where: Environment, release: Release, row: Row) -> UUID | None:
    """Have the release brought back, once: what became of an earlier run is said, and never repeated."""
    service, back = release.service, f"release {release.number} is brought back"
    before = read_repair(service, where.name, release.number)
    if before is None:
        run, row.mending = start_repair(service, where.name, release.number), True
        row.done = _said(row.done, f"{back}: started run {run}")
        return run
    state = before.state_name or "unknown"
    if before.state is None or not before.state.is_final():
        row.mending = True
        row.done = _said(row.done, f"{back}: run {before.name} is {state}")
        return None
    again = f"model-deploy rollback {service} --to {release.number} --environment {where.name}"
    row.found += (
        f"; run {before.name}, which was to bring release {release.number} back, has ended as {state}"
        f" and is not repeated; next: {again}"
    )
    return None


def see(where: Environment, release: Release) -> dict[str, Seen]:
    """What each node shows of the service; only for who holds the turn, so that nothing is going on."""
    target, service = where.target, release.service
    try:
        nodes, wanted = target.nodes(), target.desired(service).confirmed
    except Problem as problem:
        return {where.name: Seen(unreachable=problem.got or problem.what)}
    urls = target.urls(release.public_port)
    path, host = release.run.health.path, release.host
    silent = {url: Seen(unreachable=why) for url in urls if (why := no_answer(url, path, host))}
    return silent or {
        node.node: Seen(
            silent=node.silent_for(datetime.now(UTC)),
            wanted=wanted.number if wanted else None,
            live=node.services.get(service, ServiceStatus()).live,
            changed=node.services.get(service, ServiceStatus()).changed,
        )
        for node in nodes
    }


def report(environment: str, result: ReconcileResult) -> None:
    """For the UI: one table per environment."""
    rows = [row.model_dump() for row in result.rows if row.environment == environment]
    if rows:
        with told():
            create_table_artifact(
                rows,
                key=f"reconcile-{environment}",
                description=f"{environment} against its branches and nodes",
            )


def _said(before: str, now: str) -> str:
    return f"{before}; {now}" if before else now
