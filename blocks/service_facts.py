"""What a report says of a service, gathered from the ledger, the exported logs and the collected data."""

import tempfile
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from blocks.checkout import committed_at
from blocks.log_reader import LogHistory
from blocks.training_data import trained_on
from releases.access_line import count
from releases.collection import DATA
from releases.data_source import Source
from releases.dora import Dora, measure
from releases.drift import Distribution, stability_index
from releases.drift import count as count_values
from releases.edge_traffic import EDGE, Tally
from releases.ledger import Entry, Ledger
from releases.log_stream import Line
from releases.problem import Problem
from releases.store import Store

VERSION = "model_version"  # the column
BATCH = 20_000  # rows in memory at once
TRAINING = "{service}-training"  # the source with the rows that the service's model was trained on


@dataclass(frozen=True)
class Drift:
    """One feature. `index` None: too few values."""

    feature: str
    index: float | None
    values: int


@dataclass(frozen=True)
class ServiceFacts:
    """One service in one environment, from start to end."""

    service: str
    entries: list[Entry]
    dora: Dora
    traffic: dict[int, Tally]
    drift: list[Drift] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def gather(
    store: Store, service: str, environment: str, start: datetime, end: datetime, sources: dict[str, Source]
) -> ServiceFacts:
    """Everything there is; what is not there is named in `missing`."""
    entries = Ledger(store, service, environment).entries()
    ended = [one for one in entries if one.outcome and start <= one.outcome.at < end]
    committed = {
        one.release.revision: at
        for one in ended
        if (at := committed_at(one.release.source, one.release.revision)) is not None
    }
    dora = measure(entries, committed, start, end)
    missing = []
    unknown = dora.deployments - dora.failed - dora.lead_times
    if unknown > 0:
        missing.append(f"lead time of {unknown} deployments: their repository is not on this machine")
    traffic = _traffic(store, service, environment, start, end)
    if not traffic:
        missing.append("requests: no counts of the edge, and no access lines in the exported logs")
    elif not any(tally.times for tally in traffic.values()):
        missing.append("latency: no counts of the edge; requests are from the service's own access lines")
    try:
        drift = _drift(store, service, environment, start, sources)
    except Problem as problem:
        drift = []
        missing.append(f"drift: {' '.join(str(problem).split())}")
    if not drift and not any(one.startswith("drift:") for one in missing):
        missing.append(
            "drift: needs the inputs the service logs (a `log` source), and its training data: "
            f"`model publish --training FILE`, or a source {TRAINING}".format(service=service)
        )
    return ServiceFacts(service, ended, dora, traffic, drift, missing)


def _traffic(
    store: Store, service: str, environment: str, start: datetime, end: datetime
) -> dict[int, Tally]:
    """By the edge's own counts; without any by the access lines of the service."""
    found: dict[int, Tally] = {}
    for line in _lines(store, EDGE, environment, start, end):
        tally = Tally.model_validate_json(line.text) if line.stream == EDGE else None
        if tally is not None and tally.service == service:
            found.setdefault(tally.release, Tally(service=service, release=tally.release)).add_all(tally)
    return found or count(service, _lines(store, service, environment, start, end))


def _lines(store: Store, service: str, environment: str, start: datetime, end: datetime) -> Iterator[Line]:
    last = f"{end:%Y-%m-%dT%H:%M:%S}"
    with tempfile.TemporaryDirectory(prefix="model-deploy-report-") as scratch:
        history = LogHistory(store, service, environment, Path(scratch))
        history.look(start)
        yield from (line for line in history.lines(start) if line.time < last)


def _drift(
    store: Store, service: str, environment: str, start: datetime, sources: dict[str, Source]
) -> list[Drift]:
    """Against what was published with the live model; without that, against the source of training rows."""
    live = Ledger(store, service, environment).live()
    model = live.release.model if live else None
    trained = trained_on(store, model)
    version = model.version if model and trained else ""
    training = trained.features if trained else _training(store, service)
    found = []
    for name, one in sources.items():
        if one.log is None or one.log.service != service or not training:
            continue
        columns = {f"{one.log.field}__{_column(feature)}": feature for feature in training}
        seen: dict[str, Counter[int]] = {}
        for column, values in _batches(store, name, f"{start:%Y-%m-%d}", version, set(columns)):
            feature = columns[column]
            seen.setdefault(feature, Counter()).update(count_values(values, training[feature].edges))
        for feature, bins in sorted(seen.items()):
            found.append(Drift(feature, stability_index(training[feature], bins), bins.total()))
    return found


def _training(store: Store, service: str) -> dict[str, Distribution]:
    columns: dict[str, array[float]] = {}  # eight bytes a value: their quantiles need all of them
    for name, values in _batches(store, TRAINING.format(service=service), "", "", None):
        columns.setdefault(name, array("d")).extend(values)
    return {name: Distribution.of(values) for name, values in columns.items()}


def _column(feature: str) -> str:
    """As collected data calls it."""
    from dlt.common.normalizers.naming.snake_case import NamingConvention  # noqa: PLC0415 - slow to import

    return str(NamingConvention().normalize_identifier(feature))


def _batches(
    store: Store, source: str, first_day: str, version: str, wanted: set[str] | None
) -> Iterator[tuple[str, list[float]]]:
    """The numbers of a source's rows from a day on, some of a column at a time.

    `version`: of this model version only, if given. `wanted`: these columns; all of them if None.
    """
    from pyarrow import compute, parquet, types  # noqa: PLC0415

    prefix = f"{DATA}{source}/date="
    with tempfile.TemporaryDirectory(prefix="model-deploy-report-") as scratch:
        file = Path(scratch) / "rows.parquet"
        for key in list(store.list(prefix)):
            if key.removeprefix(prefix).partition("/")[0] < first_day:
                continue
            store.download(key, file)
            rows = parquet.ParquetFile(file)
            numbers = [
                one.name
                for one in rows.schema_arrow
                if (types.is_floating(one.type) or types.is_integer(one.type))
                and (wanted is None or one.name in wanted)
            ]
            by_version = [VERSION] if version and VERSION in rows.schema_arrow.names else []
            for batch in rows.iter_batches(BATCH, columns=[*numbers, *by_version]):
                if by_version:
                    batch = batch.filter(compute.equal(batch.column(VERSION), version))  # noqa: PLW2901
                for name in numbers:
                    yield name, batch.column(name).drop_null().to_pylist()
