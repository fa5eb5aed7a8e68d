"""`model-deploy logs`: the newest container's lines; with --since or --grep stored and live ones as one."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from releases.log_export import PARTS
from releases.log_segment import SEGMENTS
from releases.log_stream import OVERLAP, Line, in_order, parse_since
from releases.problem import BadInput, Unreachable

if TYPE_CHECKING:
    from blocks.environment import Environment
    from blocks.log_reader import LogHistory

DEFAULT_SINCE = "1d"
LAST_LINES = 200


def print_newest(environment: "Environment", service: str, *, follow: bool = False) -> None:
    """Print the newest container's last lines, then what comes. Raises BadInput, Unreachable."""
    from blocks.log_reader import last_lines  # noqa: PLC0415

    if environment.target.type != "local":
        raise BadInput(
            f"the containers of {environment.name} are not on this machine",
            next_step=f"model-deploy logs {service} --environment {environment.name} --since 1h",
        )
    begun = datetime.now(UTC)
    found = _containers(environment, service)
    if not found:
        raise BadInput(
            f"no container of {service} is on this node", next_step=f"model-deploy history {service}"
        )
    lines = list(last_lines(*found[0], LAST_LINES))
    for line in lines:
        show(line, "")
    if follow:
        since = begun - OVERLAP
        _follow(environment, service, since, [line for line in lines if line.moment >= since], "")


def print_stream(
    environment: "Environment", service: str, since: str, grep: str, *, follow: bool = False
) -> None:
    """Print every line once, in time order, then what comes. Raises BadInput, Unreachable."""
    if follow and environment.target.type != "local":
        raise BadInput(
            f"the containers of {environment.name} are not on this machine", next_step="without --follow"
        )
    begun = datetime.now(UTC)
    moment = parse_since(since or DEFAULT_SINCE, begun)
    newest: list[Line] = []  # what following sees again
    nothing = True
    with stream(environment, service, moment) as lines:
        for line in lines:
            nothing = False
            show(line, grep)
            if line.moment >= begun - OVERLAP:
                newest.append(line)
    if nothing and not _is_known(environment, service):
        raise BadInput(
            f"nothing is known of {service} in {environment.name}: no release, no logs",
            next_step="model-deploy status",
        )
    if follow:
        _follow(environment, service, begun - OVERLAP, newest, grep)


def show(line: Line, grep: str) -> None:
    """If it has the text."""
    if grep in line.text:
        typer.echo(f"{line.time[:23]}Z release {line.release} {line.container} {line.text}")


def _follow(environment: "Environment", service: str, since: datetime, shown: list[Line], grep: str) -> None:
    """All containers that run, also those that a release starts meanwhile."""
    from blocks.log_follow import LogFollow  # noqa: PLC0415

    for line in LogFollow(lambda: _containers(environment, service), since, shown).lines():
        show(line, grep)
    typer.echo(f"(no container of {service} runs any more)", err=True)


def _is_known(environment: "Environment", service: str) -> bool:
    places = [f"{folder}service={service}/environment={environment.name}/" for folder in (PARTS, SEGMENTS)]
    return any(environment.ledger(service).newest_first()) or any(
        key for place in places for key in environment.store.list(place)
    )


def _containers(environment: "Environment", service: str) -> list[tuple[Any, int]]:
    """On this machine, the newest first, each with its release. Raises Unreachable."""
    import docker  # noqa: PLC0415

    if environment.target.type != "local":
        return []
    labels = [f"model-deploy.node={environment.target.node}", f"model-deploy.service={service}"]
    try:
        found: list[Any] = docker.from_env().containers.list(
            all=True, filters={"label": labels}, ignore_removed=True
        )
    except (docker.errors.DockerException, OSError) as error:
        raise Unreachable(
            "the container engine does not answer", got=str(error)[:200], next_step="model-deploy doctor"
        ) from error
    return [(one, int(one.labels.get("model-deploy.release", "0"))) for one in found]


@contextmanager
def stream(environment: "Environment", service: str, since: datetime) -> Iterator[Iterator[Line]]:
    """Stored lines, and what live containers have printed after those."""
    from blocks.log_reader import LogHistory  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="model-deploy-logs-") as scratch:
        history = LogHistory(environment.store, service, environment.name, Path(scratch))
        history.look(since)
        live = _live(environment, service, history, since)
        yield in_order([history.lines(since), *live])


def _live(
    environment: "Environment", service: str, history: "LogHistory", since: datetime
) -> list[Iterator[Line]]:
    """What is newer than the store, where the containers are on this machine."""
    from blocks.log_reader import live_lines  # noqa: PLC0415

    if environment.target.type != "local":
        return _live_on_vms(environment, service, history, since)
    streams = []
    for container, release in _containers(environment, service):
        tail = history.tail(container.id)
        begins = max(tail.begins or since, since)
        streams.append(tail.only_new(live_lines(container, begins, release)))
    return streams


def _live_on_vms(
    environment: "Environment", service: str, history: "LogHistory", since: datetime
) -> list[Iterator[Line]]:
    """What is in no part yet, where Cloud Logging has it."""
    from blocks.cloud_log_export import CloudLogExport  # noqa: PLC0415
    from blocks.targets.container_declaration import ContainerDeclaration  # noqa: PLC0415

    target = environment.target
    if not isinstance(target, ContainerDeclaration):
        typer.echo("(lines from the store; the last minute's are still on the VMs)", err=True)
        return []
    typer.echo("(lines from the store and Cloud Logging, which has them within a minute)", err=True)
    export = CloudLogExport(environment.store, target.cloud_logging, service, environment.name)
    newest = list(export.newest(since, datetime.now(UTC)))
    stored = set(history.lines(newest[0].moment)) if newest else set()  # by an export meanwhile
    return [iter(line for line in newest if line not in stored)]
