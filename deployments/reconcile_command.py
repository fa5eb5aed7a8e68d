"""`model-deploy reconcile`: what is done every five minutes, now."""

from typing import Annotated

import typer

from deployments.connection import connected
from releases.problem import Failed


def reconcile(
    environment: Annotated[
        str, typer.Option("--environment", "-e", help="Only this one; all of them if not given.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
) -> None:
    """Start what a lost webhook missed, settle what was left open, report what has drifted."""
    with connected(quiet=True):
        from flows.reconcile import reconcile as flow  # noqa: PLC0415 - imports Prefect

        result = flow(environment=environment)
    if as_json:
        typer.echo(result.model_dump_json())
    for row in [] if as_json else result.rows:
        said = "; ".join(part for part in (row.found, row.done) if part) or "as it should be"
        live = f"/{row.service}: {row.live or 'nothing is live'}" if row.service else ""
        typer.echo(f"{row.environment}{live}: {said}")
    if result.left:
        raise Failed(
            f"{len(result.left)} services are not as they should be",
            got=", ".join(f"{row.service or 'all'} in {row.environment}" for row in result.left),
        )
