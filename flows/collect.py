"""On a schedule: what is new at the declared sources becomes rows by date in the bucket, each once."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import BaseModel

from blocks.collection import Collection, Gathered
from blocks.data_load import DataLoad
from blocks.data_sources import Place, masked, window_of
from blocks.environment import load_environment
from blocks.pick_lists import EnvironmentName
from blocks.row_contract import RowContract
from flows.pages import told
from flows.rows_plot import rows_plot
from flows.turn import place_if_free
from releases.collection import Load, age_hours, check_backfill, days
from releases.data_source import Source
from releases.problem import BadInput, Failed, Problem, Refused
from releases.source_file import named, read_sources

SOURCES = Path(__file__).parent.parent / "deployments" / "sources.yaml"
AT_ONCE = 4  # days of a backfill
SHOWN_RUNS = 30


class Collected(BaseModel):
    """What a run took in of one source."""

    source: str
    loads: int = 0
    rows: int = 0
    quarantined: int = 0
    newest: str = ""


@flow(
    name="collect-data",
    flow_run_name="collect {source} for {environment}",
    task_runner=ThreadPoolTaskRunner(max_workers=AT_ONCE),  # type: ignore[arg-type]
)
def collect_data(
    source: str = "",
    environment: EnvironmentName = "local",
    since: date | None = None,
    to: date | None = None,
    file: Path = SOURCES,
) -> list[Collected]:
    """Take in what is new, or fill up days before that; check, and show what there is.

    Args:
        source: One source; all that are declared if empty.
        environment: Whose bucket.
        since: Fill up from this day on.
        to: Fill up to this day, included.
        file: Where the sources are declared.

    """
    declared = read_sources(file)
    wanted = {source: named(declared, source)} if source else declared
    place = Place(load_environment(environment).store, environment)
    results: list[Collected] = []
    problems: list[Problem] = []
    for name, one in wanted.items():
        try:
            with only_run(environment, name):
                collection = Collection.begin(place.store, name)
                if first := since or to:
                    loads = fill_up(collection, one, place, first, to or first)
                else:
                    loads = [collect_new(collection, one, place)]
                results.append(show(collection, environment, loads))
                check(collection, one, loads)
        except Problem as problem:  # the other sources are not held up
            get_run_logger().error("%s: %s", name, problem)
            problems.append(problem)
        except Exception as error:  # noqa: BLE001 - neither by what nobody thought of
            got = masked(f"{type(error).__name__}: {error}", one)[:500]  # a traceback may show secrets
            problems.append(Failed(f"{name} cannot be collected", got=got))
            get_run_logger().error("%s: %s", name, problems[-1])
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise Failed(
            f"{len(problems)} of {len(wanted)} sources failed", got="\n".join(str(one) for one in problems)
        )
    return results


@task(task_run_name="what is new", cache_policy=NO_CACHE)
def collect_new(collection: Collection, source: Source, place: Place) -> Load:
    """Rows after the cursor, and the cursor with them."""
    now = collection.checkpoint()
    with tempfile.TemporaryDirectory(prefix="model-deploy-collect-") as scratch:
        gathered, contract = DataLoad(collection.source, source, place, Path(scratch)).run(now)
        stop_if_broken(collection, gathered, contract)
        return collection.take_in(gathered, replacing=source.replaces)


@task(task_run_name="{day}", cache_policy=NO_CACHE)
def collect_day(collection: Collection, source: Source, place: Place, day: date) -> Load:
    """One day's rows, instead of those that are there; where none come, those stay."""
    with tempfile.TemporaryDirectory(prefix="model-deploy-collect-") as scratch:
        load = DataLoad(collection.source, source, place, Path(scratch))
        gathered, contract = load.run(collection.checkpoint(), window_of(day))
        stop_if_broken(collection, gathered, contract)
        return collection.take_in(gathered, replacing=True)


def fill_up(collection: Collection, source: Source, place: Place, first: date, last: date) -> list[Load]:
    """Days before the cursor, side by side. Raises Refused."""
    if source.cursor is None or source.dated_by is None:
        raise BadInput(
            f"{collection.source} cannot be filled up by date",
            expected="a source with a cursor that is a timestamp or a date",
        )
    check_backfill(first, last, collection.checkpoint().newest)
    waiting = [collect_day.submit(collection, source, place, day) for day in days(first, last)]
    return [one.result() for one in waiting]


def stop_if_broken(collection: Collection, gathered: Gathered, contract: RowContract) -> None:
    """Too many rows that break the contract: nothing is taken in, the cursor stays. Raises Failed."""
    if contract.broken:
        key = collection.keep_rejected(gathered)
        raise Failed(
            f"{contract.share:.1%} of the rows of {collection.source} break their contract",
            where=key,
            expected=f"at most {contract.at_most:.1%} (contract.at_most)",
            got=contract.first_reason,
            next_step="mend the contract or the source; the next run takes the same rows again",
        )


def check(collection: Collection, source: Source, loads: list[Load]) -> None:
    """Are there enough rows, and is the newest one new enough? Raises Failed."""
    rows = sum(sum(load.rows.values()) for load in loads)
    if rows < source.checks.rows:
        raise Failed(
            f"{collection.source} gave too few rows", expected=f"at least {source.checks.rows}", got=str(rows)
        )
    if source.checks.fresh_hours is None:
        return
    newest = collection.checkpoint().newest
    age = age_hours(newest, datetime.now(UTC)) if newest else None
    if age is None or age > source.checks.fresh_hours:
        raise Failed(
            f"{collection.source} has no new rows",
            expected=f"one from the last {source.checks.fresh_hours:g} hours",
            got=f"{newest} ({age:.1f} hours old)" if age is not None else "none at all",
        )


def show(collection: Collection, environment: str, loads: list[Load]) -> Collected:
    """For the UI: the last runs as a table, rows by date as a plot."""
    now = collection.checkpoint()
    done = Collected(
        source=collection.source,
        loads=len(loads),
        rows=sum(sum(load.rows.values()) for load in loads),
        quarantined=sum(load.quarantined for load in loads),
        newest=now.newest,
    )
    get_run_logger().info(
        "%s: %s rows, %s in quarantine, up to %s",
        done.source,
        done.rows,
        done.quarantined,
        done.newest or "—",
    )
    key = f"data-{environment}-{collection.source}"
    with told():
        table = [run.model_dump(mode="json") for run in reversed(now.runs[-SHOWN_RUNS:])]
        create_table_artifact(table, key=f"{key}-runs", description=f"The last runs of {collection.source}")
        text = (
            f"# {collection.source}\n\n{sum(now.rows.values())} rows of {len(now.rows)} days, "
            f"up to {now.newest or 'now'}\n\n![rows by date]({rows_plot(now.rows)})"
        )
        create_markdown_artifact(text, key=key)
    return done


@contextmanager
def only_run(environment: str, source: str) -> Iterator[None]:
    """Nobody else collects this source meanwhile. Raises Refused."""
    with place_if_free(f"collect-{environment}-{source}") as free:
        if not free:
            raise Refused(
                f"{source} is being collected already",
                where=environment,
                next_step="the same again in a minute: a run that was killed keeps its place that long",
            )
        yield
