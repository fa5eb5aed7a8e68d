"""What a release came to, on the terminal."""

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from flows.result import ReleaseResult


def show_result(result: "ReleaseResult", *, as_json: bool) -> None:
    """Print what a release came to."""
    if as_json:
        typer.echo(result.model_dump_json())
        return
    typer.echo(f"\n{result.service} release {result.number} ({result.version}) is live at {result.url}")
    typer.echo(f"  {result.image}{' (built before)' if result.reused else ''}")
    if result.model:
        typer.echo(f"  model {result.model}")
    typer.echo(f"  {sum(result.seconds.values()):.2f} s in all")
