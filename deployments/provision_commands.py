"""`model-deploy provision` and `model-deploy doctor --environment`: an environment in Google Cloud."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from releases.problem import BadInput

if TYPE_CHECKING:
    from blocks.provisioning.google_cloud import GoogleCloud
    from releases.provisioning.protection import Protection


def provision(
    environment: Annotated[str, typer.Option("--environment", "-e", help="Which environment.")],
    file: Annotated[Path | None, typer.Option(help="The environments' file.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Apply the plan without asking.")] = False,
    print_gcloud: Annotated[
        bool, typer.Option("--print-gcloud", help="Print the plan as gcloud commands; nothing is changed.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
) -> None:
    """Compare an environment in Google Cloud with its description, and bring it there on yes."""
    google = described(environment, file)
    found = google.provisioner().plan(google.user_data)
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


def protections(environment: str, file: Path | None = None) -> "list[Protection]":
    """What `doctor --environment` looks at. Raises Problem."""
    from releases.provisioning.protection import protections as judged  # noqa: PLC0415

    google = described(environment, file)
    provisioner, cloud = google.provisioner(), google.described
    found = provisioner.plan(google.user_data)
    buckets = (cloud.models_bucket, cloud.data_bucket)
    policies = {name: provisioner.rights.policy(f"bucket {name}") or {} for name in buckets}
    keys = {email: provisioner.accounts.keys(email) for email in (cloud.node, cloud.builder, cloud.deployer)}
    return list(judged(cloud, found, policies, keys))


def show_protections(environment: str) -> None:
    """Print what protects an environment and what does not, with the commands that mend it."""
    looked_at = protections(environment)
    for one in looked_at:
        typer.echo(f"{'ok ' if one.ok else 'OFF'}  {one.what}{f': {one.detail}' if one.detail else ''}")
        for command in one.fix if not one.ok else ():
            typer.echo(f"       next: {command}")
    if not all(one.ok for one in looked_at):
        raise typer.Exit(1)


def described(environment: str, file: Path | None) -> "GoogleCloud":
    """The environment as its `cloud` section in the environments' file says. Raises BadInput."""
    import yaml  # noqa: PLC0415
    from pydantic import ValidationError  # noqa: PLC0415

    from blocks.provisioning.google_cloud import GoogleCloud  # noqa: PLC0415 - imports Prefect
    from deployments.apply import ENVIRONMENTS  # noqa: PLC0415

    path = file or ENVIRONMENTS
    try:
        environments: Any = yaml.safe_load(path.read_text(encoding="utf-8"))["environments"]
        section = environments[environment]["cloud"]
    except (OSError, yaml.YAMLError) as error:
        raise BadInput("the environments cannot be read", where=str(path), got=str(error)) from error
    except (KeyError, TypeError) as error:
        raise BadInput(
            f"{environment} is no environment in Google Cloud",
            where=str(path),
            expected=f"environments.{environment}.cloud with project, zone, ports and sources",
        ) from error
    try:
        return GoogleCloud.model_validate({**section, "described": {"name": environment, **section}})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"] if part != "described")
        raise BadInput(
            f"`{field}` is not right", where=f"{path}, {environment}.cloud", expected=first["msg"]
        ) from error
