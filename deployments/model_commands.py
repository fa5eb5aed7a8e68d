"""`model-deploy model …`: publish versions of a model, look at them, fetch them, name them."""

import json
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployments.connection import connected, load, person
from releases.problem import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from blocks.model_store import ModelStore, Progress, Published
    from releases.model_manifest import Metric
    from releases.spec import Model

model_app = typer.Typer(
    help="Publish model versions, look at them, fetch them, name them.", no_args_is_help=True
)
InEnvironment = Annotated[str, typer.Option("--environment", "-e", help="Whose store.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
OfModel = Annotated[str, typer.Argument(metavar="NAME", help="The model's name.")]
AtVersion = Annotated[str, typer.Argument(metavar="VERSION", help="v1, v1.1, … or an alias.")]


@model_app.command()
def publish(
    name: OfModel,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="v1, v1.1, v2, …; it never changes.")],
    path: Annotated[Path, typer.Argument(help="A folder, or one file.")],
    metrics: Annotated[Path | None, typer.Option(help="JSON file: name → number or text.")] = None,
    note: Annotated[str, typer.Option(help="What is new, for people.")] = "",
    training: Annotated[
        Path | None, typer.Option(help="CSV or Parquet it was trained on: how its columns are distributed.")
    ] = None,
    allow_unsafe: Annotated[
        bool, typer.Option("--allow-unsafe", help="Publish files that would run code when loaded.")
    ] = False,
    environment: InEnvironment = "local",
    as_json: AsJson = False,
) -> None:
    """Publish a version: there whole or not at all, and never changed."""
    model, measured = _model(name, version), _metrics(metrics)
    with _models(environment) as models, ExitStack() as stack:
        from blocks.model_folder import sources_in  # noqa: PLC0415 - imports Prefect
        from blocks.model_scan import suspects_in, warnings  # noqa: PLC0415
        from blocks.training_data import with_training  # noqa: PLC0415

        sources = sources_in(path)
        if training is not None:
            sources = stack.enter_context(with_training(sources, training))
        for line in warnings(suspects_in(sources), allow_unsafe=allow_unsafe):
            typer.echo(f"warning: {line}", err=True)
        with _progress() as progress:
            made = models.publish(model, sources, progress, metrics=measured, note=note, by=person())
    _say(made, as_json=as_json, words=f"{model} is published")


@model_app.command(name="list")
def list_(
    name: Annotated[str, typer.Argument(metavar="NAME", help="One model; all if not given.")] = "",
    environment: InEnvironment = "local",
    as_json: AsJson = False,
) -> None:
    """Every version, oldest first."""
    with _models(environment) as models:
        found = models.versions(name)
        aliases = {each: models.aliases(each) for each in {one.manifest.name for one in found}}
    rows = [(one, _names_of(one, aliases[one.manifest.name].aliases)) for one in found]
    if as_json:
        typer.echo(json.dumps([{**_described(one), "aliases": names} for one, names in rows]))
        return
    for one, names in rows:
        manifest = one.manifest
        told = [f"{manifest.created:%Y-%m-%d %H:%M}", _bytes(manifest.size), one.sha256[:12], *names]
        typer.echo(f"{manifest.name:<16} {manifest.version:<8} {'  '.join(told)}  {manifest.note}".rstrip())
    if not rows:
        typer.echo("no model is published here yet; next: model-deploy model publish NAME VERSION PATH")


@model_app.command()
def show(
    name: OfModel, version: AtVersion, environment: InEnvironment = "local", as_json: AsJson = False
) -> None:
    """One version: its files, metrics, checksums."""
    with _models(environment) as models:
        found = models.get(name, version)
        names = _names_of(found, models.aliases(name).aliases)
    if as_json:
        typer.echo(json.dumps({**_described(found), "aliases": names}))
        return
    manifest = found.manifest
    typer.echo(f"{manifest.name} {manifest.version} {' '.join(names)}".rstrip())
    typer.echo(f"  sha256   {found.sha256}")
    typer.echo(f"  created  {manifest.created:%Y-%m-%d %H:%M} UTC {manifest.created_by}".rstrip())
    if manifest.note:
        typer.echo(f"  note     {manifest.note}")
    for metric, value in manifest.metrics.items():
        typer.echo(f"  {metric} = {value}")
    for file in manifest.files:
        typer.echo(f"  {_bytes(file.size):>10}  {file.sha256[:12]}  {file.path}{_risk(file.path)}")


@model_app.command()
def diff(
    name: OfModel,
    before: Annotated[str, typer.Argument(metavar="A", help="Version or alias.")],
    after: Annotated[str, typer.Argument(metavar="B", help="Version or alias.")],
    environment: InEnvironment = "local",
    as_json: AsJson = False,
) -> None:
    """What changed from A to B: files and metrics."""
    with _models(environment) as models:
        old, new = models.get(name, before).manifest, models.get(name, after).manifest
    from releases.model_diff import diff as compare  # noqa: PLC0415

    found = compare(old, new)
    if as_json:
        typer.echo(json.dumps(found.to_json()))
        return
    typer.echo(f"{name} {old.version} → {new.version}")
    for line in found.lines():
        typer.echo(f"  {line}")


@model_app.command()
def get(
    name: OfModel,
    version: AtVersion,
    folder: Annotated[Path, typer.Argument(help="Where to; made anew.")],
    environment: InEnvironment = "local",
    as_json: AsJson = False,
) -> None:
    """Download a version, verified. Begun again, it goes on where it was."""
    with _models(environment) as models:
        found = models.get(name, version)
        with _progress() as progress:
            models.download_whole(found, folder, progress)
    _say(found, as_json=as_json, words=f"{name} {found.manifest.version} is in {folder}")


@model_app.command()
def alias(
    name: OfModel,
    alias_: Annotated[str, typer.Argument(metavar="ALIAS", help="For example production, candidate.")],
    version: Annotated[str, typer.Argument(metavar="VERSION", help="What it stands for from now on.")],
    environment: InEnvironment = "local",
    as_json: AsJson = False,
) -> None:
    """Let a name stand for a version. A release keeps the version that it was made with."""
    with _models(environment) as models:
        version = models.get(name, version).manifest.version
        before = models.point(name, alias_, version, by=person())
    if as_json:
        typer.echo(json.dumps({"name": name, "alias": alias_, "version": version, "before": before}))
        return
    was = f" (it was {before})" if before else ""
    typer.echo(f"{alias_} of {name} is {version}{was}")


@contextmanager
def _models(environment: str) -> "Iterator[ModelStore]":
    with connected(quiet=True):
        yield load(environment).models()


def _model(name: str, version: str) -> "Model":
    from releases.spec import Model  # noqa: PLC0415

    return Model.parse(f"{name}={version}")


def _metrics(file: Path | None) -> "Mapping[str, Metric]":
    if file is None:
        return {}
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415

    from releases.model_manifest import Metric  # noqa: PLC0415

    try:
        return TypeAdapter(dict[str, Metric]).validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror
        raise BadInput(
            "the metrics cannot be read",
            where=str(file),
            expected='JSON such as {"accuracy": 0.93}: name → number or text',
            got=str(why),
        ) from error


@contextmanager
def _progress() -> "Iterator[Progress]":
    """A bar on a terminal; elsewhere nothing."""
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
        yield _Bar(bar)


class _Bar:
    def __init__(self, bar: Any) -> None:
        self._bar = bar
        self._task: Any = None

    def begin(self, doing: str, total: int) -> None:
        self._task = self._bar.add_task(doing, total=total)

    def moved(self, size: int) -> None:
        self._bar.advance(self._task, size)


def _say(made: "Published", *, as_json: bool, words: str) -> None:
    if as_json:
        typer.echo(json.dumps(_described(made)))
        return
    manifest = made.manifest
    typer.echo(f"{words}: {len(manifest.files)} files, {_bytes(manifest.size)}")
    typer.echo(f"  sha256 {made.sha256}")


def _described(made: "Published") -> dict[str, Any]:
    return {**made.manifest.model_dump(mode="json"), "sha256": made.sha256, "size": made.manifest.size}


def _names_of(made: "Published", aliases: "Mapping[str, Any]") -> list[str]:
    return [alias for alias, one in aliases.items() if one.version == made.manifest.version]


def _risk(path: str) -> str:
    from releases.model_format import risk_of  # noqa: PLC0415

    risk = risk_of(path)
    return f"  ({risk})" if risk else ""


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:  # noqa: PLR2004 - the next unit begins there
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
