"""Every day: what live releases want by ACME is there, for their names, and not about to end."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from pydantic import BaseModel, Field

from blocks.certificate import held
from blocks.environment import Environment, environment_names, load_environment
from blocks.notifications import tell
from blocks.pick_lists import EnvironmentOrAll, ServiceOrAll
from flows.issuing import fetch, live_releases, look, references, wants
from flows.pages import told
from flows.turn import turn_if_free
from releases import acme
from releases.acme import Held, Wanted
from releases.problem import Failed, Problem


class Row(BaseModel):
    """One certificate of an environment, and what was done about it."""

    environment: str
    services: list[str] = Field(default_factory=list)
    names: list[str] = Field(default_factory=list)
    secret: str = ""
    issuer: str = ""
    until: datetime | None = None
    done: str = ""
    problem: str = ""


class CertificatesResult(BaseModel):
    """What a run of the flow has found and done."""

    rows: list[Row] = Field(default_factory=list)

    @property
    def failed(self) -> list[Row]:
        """Where a certificate could not be had; the one before goes on."""
        return [row for row in self.rows if row.problem]


@flow(name="certificates", flow_run_name="certificates {environment}")
def certificates(
    environment: EnvironmentOrAll = "", service: ServiceOrAll = "", renew: bool = False
) -> CertificatesResult:
    """Fetch what is missing, for other names, or in the last third of its life.

    Args:
        environment: Only this one; all of them if empty.
        service: Only this service's; all of them if empty.
        renew: Also those that are good for a while yet.

    """
    result = CertificatesResult()
    for name in [environment] if environment else environment_names():
        try:
            where = load_environment(name)
        except Problem as problem:
            if environment:
                raise  # the mistake of who gave it
            result.rows.append(Row(environment=name, problem=str(problem)))
            continue
        rows = look_after_all(where, service, renew)
        result.rows += rows
        show(name, rows)
        warn(where, [row for row in rows if row.problem])
    if result.failed:
        raise Failed(
            f"{len(result.failed)} of {len(result.rows)} certificates could not be had; the old ones go on",
            got="\n".join(f"{one.secret or one.environment}: {one.problem}" for one in result.failed),
            next_step="mend it, then: model-deploy certificates --renew",
        )
    return result


def look_after_all(where: Environment, service: str, renew: bool) -> list[Row]:
    """Each in turn; one that cannot be had does not hold up the others."""
    try:
        live = list(live_releases(where))
    except Problem as problem:
        return [Row(environment=where.name, problem=str(problem))]
    wanted, named = list(wants(where, live)), set(references(live))
    mine = {one.secret for one in wanted if service in {"", one.service}}
    rows = [look_after(where, one, renew) for one in acme.wanted(wanted) if one.secret in mine]
    for row in rows:
        destroy_ended(where, row.secret, {one.version for one in named if one.name == row.secret})
    return rows


def look_after(where: Environment, one: Wanted, renew: bool) -> Row:
    """Leave it, or fetch it while none of its services is being released."""
    row = Row(environment=where.name, services=list(one.services), names=list(one.names), secret=one.secret)
    try:
        now = look(where, one)
        tell_of(row, now)
        why = acme.due(one.names, now, datetime.now(UTC)) or ("asked for" if renew else "")
        if not why:
            return row
        with turns_if_free(one.services, where.name) as free:
            if not free:
                row.done = f"put off, since a release is going on: {why}"
                return row
            tell_of(row, fetch(where, one))
            row.done = f"fetched: {why}"
    except Problem as problem:
        row.problem = str(problem)
        get_run_logger().warning("%s in %s: %s", one.secret, where.name, problem)
    return row


def destroy_ended(where: Environment, secret: str, named: Collection[str]) -> None:
    """Old versions whose certificate has ended, but none that a live release names: each is paid for.

    What cannot be destroyed today holds nothing up: nobody is served worse for it.
    """
    now = datetime.now(UTC)
    try:
        count = where.target.secrets.destroy_old(secret, named, lambda text: acme.ended(held(text), now))
    except Problem as problem:
        get_run_logger().warning("old versions of %s in %s stay: %s", secret, where.name, problem)
        return
    if count:
        get_run_logger().info("%d versions of %s that had ended are destroyed", count, secret)


def tell_of(row: Row, held: Held | None) -> None:
    """What there is now."""
    row.issuer, row.until = (held.issuer, held.ends) if held else ("", None)


@contextmanager
def turns_if_free(services: Sequence[str], environment: str) -> Iterator[bool]:
    """Hold the place of every one of these services, where nobody else does."""
    with ExitStack() as held:
        free = [held.enter_context(turn_if_free(one, environment)) for one in services]
        yield all(free)


def show(environment: str, rows: list[Row]) -> None:
    """For the UI: one table per environment."""
    if rows:
        with told():
            create_table_artifact(
                [row.model_dump(mode="json") for row in rows],
                key=f"certificates-{environment}",
                description=f"Certificates by ACME in {environment}",
            )


def warn(where: Environment, failed: list[Row]) -> None:
    """Tell the environment's people."""
    if failed:
        what = ", ".join(row.secret or "the ledger" for row in failed)
        body = "\n\n".join(row.problem for row in failed)
        tell(where.rules.notify, f"Failed: certificates of {where.name}: {what}", body)
