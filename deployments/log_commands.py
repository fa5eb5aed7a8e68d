"""`model-deploy logs --since … --grep …`: stored history and live containers as one stream."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from releases.log_stream import Line, in_order, parse_since

if TYPE_CHECKING:
    from blocks.environment import Environment
    from blocks.log_reader import LogHistory

DEFAULT_SINCE = "1d"


def print_stream(environment: "Environment", service: str, since: str, grep: str) -> None:
    """Print every line once, in time order. Raises BadInput, Unreachable."""
    moment = parse_since(since or DEFAULT_SINCE, datetime.now(UTC))
    with stream(environment, service, moment) as lines:
        for line in lines:
            if grep in line.text:
                typer.echo(f"{line.time[:23]}Z release {line.release} {line.container} {line.text}")


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
    import docker  # noqa: PLC0415

    from blocks.log_reader import live_lines  # noqa: PLC0415

    if environment.target.type != "local":
        return _live_on_vms(environment, service, history, since)
    labels = [f"model-deploy.node={environment.target.node}", f"model-deploy.service={service}"]
    streams = []
    container: Any
    for container in docker.from_env().containers.list(all=True, filters={"label": labels}):
        tail = history.tail(container.id)
        begins = max(tail.begins or since, since)
        release = int(container.labels.get("model-deploy.release", "0"))
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
