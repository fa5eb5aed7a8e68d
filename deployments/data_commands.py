"""`model-deploy collect` takes in what is new at a source; `model-deploy report` says how all is going."""

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from deployments.connection import connected
from releases.problem import BadInput


def collect(
    source: Annotated[str, typer.Argument(help="Source; all that are declared if not given.")] = "",
    since: Annotated[str, typer.Option("--from", help="Fill up from this day on, as 2026-11-24.")] = "",
    to: Annotated[str, typer.Option("--to", help="Fill up to this day, included.")] = "",
    environment: Annotated[str, typer.Option("--environment", "-e", help="Whose bucket.")] = "local",
    file: Annotated[Path | None, typer.Option(help="Where the sources are declared.")] = None,
) -> None:
    """Take in what is new at the declared sources."""
    first, last = day(since), day(to)
    if (first or last) and not source:
        raise BadInput("which source?", expected="model-deploy collect SOURCE --from … --to …")
    with connected(quiet=True):
        from flows.collect import SOURCES, collect_data  # noqa: PLC0415 - imports Prefect

        given = (file or SOURCES).absolute()
        for done in collect_data(source=source, environment=environment, since=first, to=last, file=given):
            kept = f", {done.quarantined} in quarantine" if done.quarantined else ""
            upto = f", up to {done.newest}" if done.newest else ""
            typer.echo(f"{done.source}: {done.rows} rows{kept}{upto}")


def report(
    service: Annotated[str, typer.Argument(help="Service; all of them if not given.")] = "",
    days: Annotated[int, typer.Option(min=1, help="How many days back.")] = 7,
    environment: Annotated[str, typer.Option("--environment", "-e", help="Whose services.")] = "local",
) -> None:
    """How releasing goes and how the services do: a page, and a digest for chat."""
    with connected(quiet=True):
        from flows.report import report as flow  # noqa: PLC0415 - imports Prefect

        (made,) = flow(environment=environment, service=service, days=days)
    typer.echo(f"{made.digest}\n\n{made.url}")


def day(text: str) -> date | None:
    """A day as a person types it. Raises BadInput."""
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as error:
        raise BadInput("this is no day", expected="for example 2026-11-24", got=text) from error
