"""`model-deploy promote`, `pending`, `approve`, `reject`."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from deployments.connection import connected, person, service_here
from deployments.release_result import show_result
from flows.ctrl_c import ctrl_c_cancels
from releases.problem import BadInput, Refused

if TYPE_CHECKING:
    from deployments.approvals import Waiting

Run = Annotated[str, typer.Argument(help="The flow run: its id, the beginning of its id, or its name.")]
Reason = Annotated[str, typer.Option(help="Why; recorded in the release.")]
By = Annotated[str, typer.Option(help="Your name, recorded in the release; your login if not given.")]


def promote(
    service: Annotated[str, typer.Argument(help="Service; this folder's if not given.")] = "",
    source: Annotated[str, typer.Option("--from", help="Where it is live and good.")] = "staging",
    to: Annotated[str, typer.Option("--to", help="Where it shall be.")] = "production",
    override_freeze: Annotated[
        str, typer.Option(help="Why it may go out in a freeze window; recorded in the release.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
) -> None:
    """Release what is live in one environment to the next: the same image, not built again."""
    with ctrl_c_cancels(), connected(quiet=as_json):
        from flows.promote import promote as flow  # noqa: PLC0415 - imports Prefect

        result = flow(service_here(service), source, to, override_freeze)
    show_result(result, as_json=as_json)


def pending(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
) -> None:
    """Which releases wait for a person, and what they would change."""
    with connected(quiet=True):
        from deployments.approvals import waiting  # noqa: PLC0415 - imports Prefect

        found = waiting()
    if as_json:
        rows = [{"run": str(one.run), "name": one.name, "expires": str(one.expires)} for one in found]
        typer.echo(json.dumps(rows))
        return
    for one in found:
        typer.echo(f"{one.run}  {one.name}\n\n{one.text}\n")
        typer.echo(f"model-deploy approve {one.short} --reason …\n")
    if not found:
        typer.echo("nothing waits for a person")


def approve(run: Run, reason: Reason = "", by: By = "") -> None:
    """Let a release that waits go on."""
    _answer(run, "approve", by, reason)


def reject(run: Run, reason: Reason = "", by: By = "") -> None:
    """End a release that waits; nothing is touched."""
    _answer(run, "reject", by, reason)


def _answer(run: str, decision: str, by: str, reason: str) -> None:
    by = by or person()
    if not by:
        raise BadInput(
            "who are you? The release records who answered",
            expected="a name: the user of this process has none",
            next_step=f"model-deploy {decision} {run} --by NAME",
        )
    with connected(quiet=True):
        from deployments.approvals import answer, waiting  # noqa: PLC0415 - imports Prefect

        meant = _meant(run, waiting())
        refused = answer(meant, decision, by, reason)
    if refused:
        raise Refused(f"{meant.name} does not take the answer", got=refused, next_step="model-deploy pending")
    typer.echo(f"{meant.name}: {decision}{'d' if decision[-1] == 'e' else 'ed'}")


def _meant(run: str, found: "list[Waiting]") -> "Waiting":
    matching = [one for one in found if run and (str(one.run).startswith(run) or run == one.name)]
    if len(matching) != 1:
        raise BadInput(
            f"{'no run' if not matching else 'more than one run'} called {run} waits for a person",
            expected="one of " + (", ".join(f"{one.short} ({one.name})" for one in found) or "none now"),
            next_step="model-deploy pending",
        )
    return matching[0]
