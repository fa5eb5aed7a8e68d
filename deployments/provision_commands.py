"""`model-deploy provision` and `model-deploy doctor --environment`: an environment in Google Cloud."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployments.connection import connected, point

if TYPE_CHECKING:
    from blocks.provisioning.google_cloud import GoogleCloud
    from releases.provisioning.protection import Protection
    from releases.provisioning.wanted import Plan


def provision(
    environment: Annotated[str, typer.Option("--environment", "-e", help="Which environment.")],
    file: Annotated[Path | None, typer.Option(help="The environments' file.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Apply the plan without asking.")] = False,
    print_gcloud: Annotated[
        bool, typer.Option("--print-gcloud", help="Print the plan as gcloud commands; nothing is changed.")
    ] = False,
    print_user_data: Annotated[
        bool, typer.Option("--print-user-data", help="Print what the VMs boot into, for a group's template.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
) -> None:
    """Compare an environment in Google Cloud with its description, and bring it there on yes."""
    google = _described(environment, file)
    if print_user_data:
        from releases.provisioning.resources import user_data  # noqa: PLC0415

        typer.echo(user_data(google.described), nl=False)
        return
    found = google.provisioner().plan()
    if print_gcloud:
        from releases.provisioning.gcloud import script  # noqa: PLC0415

        typer.echo("\n".join(script(google.described, found)))
        return
    if not as_json:
        _show(found)
    done = _apply(google, found, quiet=as_json) if found.todo and _approved(yes=yes, quiet=as_json) else []
    if as_json:
        typer.echo(json.dumps(_as_json(found, done)))
    elif done:
        typer.echo(f"{len(done)} done; the environment {environment} is as described")
    elif found.todo:
        typer.echo("nothing was changed; --yes applies the plan")


def protections(environment: str, file: Path | None) -> "list[Protection]":
    """What `doctor --environment` looks at. Raises Problem."""
    from releases.provisioning.protection import protections as judged  # noqa: PLC0415

    google = _described(environment, file)
    provisioner, cloud = google.provisioner(), google.described
    found = provisioner.plan()
    buckets = (cloud.models_bucket, cloud.data_bucket)
    policies = {name: provisioner.rights.policy(f"bucket {name}") or {} for name in buckets}
    keys = {email: provisioner.accounts.keys(email) for email in (cloud.node, cloud.builder, cloud.deployer)}
    return list(judged(cloud, found, policies, keys))


def show_protections(environment: str, file: Path | None, *, as_json: bool) -> None:
    """Print what protects an environment and what does not, with the commands that mend it."""
    looked_at = protections(environment, file)
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in looked_at]))
    for one in looked_at if not as_json else ():
        typer.echo(f"{'ok ' if one.ok else 'OFF'}  {one.what}{f': {one.detail}' if one.detail else ''}")
        for command in one.fix if not one.ok else ():
            typer.echo(f"       next: {command}")
    if not all(one.ok for one in looked_at):
        raise typer.Exit(1)


def _described(environment: str, file: Path | None) -> "GoogleCloud":
    """What the file says. Prefect's server is there where that names a block with credentials."""
    from deployments.environments_file import parse  # noqa: PLC0415
    from deployments.stack import ensure_server  # noqa: PLC0415

    home = point()
    file = file or home.environments_file
    environments = parse(file)
    from deployments.google_cloud import in_google_cloud  # noqa: PLC0415 - imports Prefect

    google = in_google_cloud(environment, environments, file)
    if google.credentials is not None:
        ensure_server(home)
    return google


def _approved(*, yes: bool, quiet: bool) -> bool:
    """On `--yes`, or when a person types yes; without a terminal nobody is asked and nothing is changed."""
    if yes:
        return True
    if quiet or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    return bool(typer.prompt("Apply it? Type yes", default="no", show_default=False).strip() == "yes")


def _apply(google: "GoogleCloud", found: "Plan", *, quiet: bool) -> list[str]:
    """Run the flow on the plan that was shown, and on no other. Raises Problem."""
    with connected(quiet=quiet):
        from flows.provision import provision as flow  # noqa: PLC0415 - imports Prefect

        google.save(google.described.name, overwrite=True)
        return flow(environment=google.described.name, approve=found.name).done


def _show(found: "Plan") -> None:
    from releases.provisioning.show import lines  # noqa: PLC0415

    for line in lines(found):
        typer.echo(line)


def _as_json(found: "Plan", done: list[str]) -> dict[str, Any]:
    changes = [
        {
            "kind": one.key.kind.name,
            "name": one.key.name,
            "action": one.action.value,
            "fields": [asdict(field) for field in one.fields],
            "by_hand": [asdict(field) for field in one.by_hand],
        }
        for one in found.changes
    ]
    return {"plan": found.name, "changes": changes, "done": done}
