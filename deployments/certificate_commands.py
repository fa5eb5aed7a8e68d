"""`model-deploy certificates`: which there are, until when; and renewing them now."""

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from deployments.connection import connected
from releases.problem import Failed, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from blocks.environment import Environment


@dataclass(frozen=True)
class Served:
    """A live release's certificate, as the nodes say."""

    environment: str
    service: str
    names: tuple[str, ...]
    secret: str
    by: str
    until: str
    problem: str

    def __str__(self) -> str:
        served = f"until {self.until}" if self.until else "none is served"
        said = f"; {self.problem}" if self.problem else ""
        return f"{self.environment}/{self.service}: {', '.join(self.names)}: {self.by}, {served}{said}"


def certificates(
    environment: Annotated[
        str, typer.Option("--environment", "-e", help="Only this one; all of them if not given.")
    ] = "",
    renew: Annotated[bool, typer.Option(help="First fetch anew what comes by ACME.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
) -> None:
    """Which services have a certificate, from where, and until when."""
    with connected(quiet=True):
        from blocks.environment import environment_names, load_environment  # noqa: PLC0415 - imports Prefect

        if renew:
            _renew(environment, quiet=as_json)
        names = [environment] if environment else environment_names()
        found = [one for name in names for one in served(load_environment(name))]
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in found]))
    for one in found if not as_json else ():
        typer.echo(str(one))
    if not found and not as_json:
        typer.echo("no service has a certificate; next: run.hosts in model-deploy.yaml")
    bad = [one for one in found if one.problem or not one.until]
    if bad:
        raise Failed(
            f"{len(bad)} certificates are not as they should be",
            got=", ".join(f"{one.service} in {one.environment}" for one in bad),
        )


def _renew(environment: str, *, quiet: bool) -> None:
    from flows.certificates import certificates as flow  # noqa: PLC0415 - imports Prefect

    for row in flow(environment=environment, renew=True).rows:
        if not quiet:
            until = f", until {row.until:%Y-%m-%d}" if row.until else ""
            typer.echo(f"{row.environment}: {row.secret}: {row.done}{until}")


def served(where: "Environment") -> "Iterator[Served]":
    """Each live release that has a certificate."""
    from releases.ledger import services_in  # noqa: PLC0415

    for service in sorted(services_in(where.store, where.name)):
        entry = where.ledger(service).live()
        if entry is None or not entry.release.certificate:
            continue
        release, said, silent = entry.release, None, ""
        try:
            said = where.target.status(service).certificate
        except Problem as problem:
            silent = problem.what
        issuer = urlsplit(where.acme.directory).hostname if where.acme else "nobody named by the environment"
        fetched = release.run.fetched(where.name)
        yield Served(
            where.name,
            service,
            release.hosts,
            release.certificate,
            f"by ACME from {issuer}, secret {release.certificate}"
            if fetched
            else f"secret {release.certificate}",
            f"{said.expires:%Y-%m-%d}" if said and said.expires else "",
            said.problem if said else silent,
        )
