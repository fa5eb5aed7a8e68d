"""`model-deploy adopt VM`: from Google's deprecated container startup agent to ours."""

from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Annotated

import typer

from deployments.connection import connected, load
from releases.problem import BadInput, Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from blocks.environment import Environment
    from releases.release import Release, Verdict
    from releases.spec import Run


PLAN = """then: user-data and model-deploy are added to the metadata, gce-container-declaration is removed
last, and the VM restarts: it serves nothing meanwhile. If the service is not live then, all goes back;
if this is killed, the same again goes on: what was there is kept as model-deploy-adopted until the end."""


def adopt(
    vm: Annotated[str, typer.Argument(help="The VM's name.")],
    environment: Annotated[str, typer.Option("--environment", "-e", help="Which environment takes it.")],
    service: Annotated[str, typer.Option(help="What the service is called from now on.")],
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port that the container listens on.")],
    public_port: Annotated[
        int, typer.Option(help="The edge's port; the first free one of the target's if 0.")
    ] = 0,
    accept: Annotated[
        list[str] | None, typer.Option(help="What may get lost, by name; again for each.")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="The environments' file.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it: the VM restarts.")] = False,
) -> None:
    """Show what becomes of all that a VM's container declaration says, and move the VM on --yes."""
    from blocks.targets import adopting  # noqa: PLC0415 - imports Prefect
    from blocks.targets.compute_engine import ComputeEngineInstances  # noqa: PLC0415
    from deployments.google_cloud import described  # noqa: PLC0415
    from flows.turn import turn_if_free  # noqa: PLC0415
    from releases import adoption, container_declaration  # noqa: PLC0415 - not for --help
    from releases.adopted_run import adopted_run, as_yaml  # noqa: PLC0415
    from releases.provisioning.resources import user_data  # noqa: PLC0415

    with connected(quiet=True) as home:
        where = load(environment)
        target = where.target
        if not isinstance(target, ComputeEngineInstances):
            raise BadInput(f"{environment} has no VMs", expected="type: compute-engine", got=target.type)
        found = adopting.find(target, vm)
        declared = container_declaration.parse(adoption.before(found.metadata)[container_declaration.KEY])
        image = pinned(where, declared.spec.container.image)
        public = adopting.free_port(target, found, service, public_port or None)
        choices = adoption.choices(declared, image, port, public)
        for one in [*choices, *adoption.machine(found.scopes, found.metadata)]:
            mark = "LOST" if one.loses else ""
            typer.echo(f"{mark:<5}{one.name:<22}{one.was}  ->  {one.becomes}")
        adoption.check(choices, accept or [])
        run = adopted_run(declared, port, public)
        boot = user_data(described(environment, file or home.environments_file).described)
        typer.echo("\nfor the service's model-deploy.yaml, so that the next release is the same:\n")
        typer.echo(indent(as_yaml(service, run), "    "))
        typer.echo(PLAN)
        if not yes:
            typer.echo("nothing was changed; --yes does it")
            return
        with turn_if_free(service, environment) as free:
            if not free:
                raise Refused(
                    f"a release of {service} is going on in {environment}",
                    got="nothing was touched",
                    next_step="wait until it has ended, then the same again",
                )
            live = adopting.already_live(target, found, service)
            release = live or claim(where, run, service=service, image=image)
            with recorded(where, release):
                if live is None:
                    adopting.adopt(target, found, release, boot)
            adopting.finish(target, found)
    typer.echo(f"{vm} is adopted: {service} release {release.number} is live; model-deploy release is next")
    typer.echo(
        "its model-deploy.yaml is above: what is not in the repository, the next release does not have"
    )


def pinned(where: "Environment", image: str) -> str:
    """The image by digest. Raises Refused where the registry does not have it."""
    if "@sha256:" in image:
        return image
    repository, _, tag = image.rpartition(":") if ":" in image.rpartition("/")[2] else (image, "", "latest")
    found = None
    with suppress(BadInput):
        found = where.registry.find(repository, tag)
    if found is None:
        raise Refused(
            f"{image} is not in the registry",
            where=where.registry.prefix,
            expected="an image that the node can pull by its digest",
            next_step="push it there, or name it by digest in the declaration",
        )
    return found


def claim(where: "Environment", run: "Run", *, service: str, image: str) -> "Release":
    """Number it: from here on it can be rolled back to."""
    from releases.release import Release  # noqa: PLC0415

    port, public_port = run.port, run.public_port
    if port is None or public_port is None:
        raise BadInput("a release needs its ports", where="run.port, run.public_port")

    def make(number: int) -> Release:
        return Release(
            service=service,
            environment=where.name,
            number=number,
            image=image,
            version="adopted",
            port=port,
            public_port=public_port,
            run=run,
            confirm_window=120,
            created=datetime.now(UTC),
        )

    return where.ledger(service).claim(make)


@contextmanager
def recorded(where: "Environment", release: "Release") -> "Iterator[None]":
    """Write into the ledger how it ended, whatever ends it."""
    from releases.release import Verdict  # noqa: PLC0415

    try:
        yield
    except BaseException as error:
        _record(where, release, Verdict.failed, str(error) or type(error).__name__, None)
        raise
    _record(where, release, Verdict.confirmed, "adopted from a container declaration", release.number)


def _record(
    where: "Environment", release: "Release", verdict: "Verdict", reason: str, live: int | None
) -> None:
    from releases.release import Outcome  # noqa: PLC0415

    now = datetime.now(UTC)
    outcome = Outcome(number=release.number, verdict=verdict, reason=reason, live=live, at=now)
    where.ledger(release.service).settle(outcome)
