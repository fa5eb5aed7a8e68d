"""What tests kill in the middle. A process that imports only this is forked twice as fast as from the tests."""

import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from pyarrow import parquet, table

from blocks.cloud_log_export import CloudLogExport
from blocks.cloud_logging import CloudLogging
from blocks.collection import Collection, Gathered
from blocks.data_load import DataLoad
from blocks.data_sources import Place, window_of
from blocks.log_export import ContainerExport, Exported, waiting
from blocks.model_folder import sources_in
from blocks.model_store import ModelStore
from blocks.row_contract import RowContract
from blocks.store import DirectoryStore
from releases.source_file import parse_sources
from releases.spec import Model

HOUR = datetime(2025, 11, 24, 10, tzinfo=UTC)
LATER = HOUR + timedelta(days=365)
BATCH = 20


class Silent:
    """Progress that nobody sees."""

    def __init__(self) -> None:
        self.total = self.seen = 0

    def begin(self, doing: str, total: int) -> None:
        self.total = total

    def moved(self, size: int) -> None:
        self.seen += size


def in_store(folder: Path) -> DirectoryStore:
    """What is left when this is killed goes with the test."""
    tempfile.tempdir = str(folder.parent)
    return DirectoryStore(path=folder)


def publish(store: Path, folder: Path) -> None:
    ModelStore(in_store(store)).publish(Model(name="iris", version="v1"), sources_in(folder), Silent())


def export(store: Any, until: datetime = LATER) -> list[Exported]:
    """What the nodes have uploaded."""
    return [
        ContainerExport(store, service, "local", one).run(places, until)
        for (service, one), places in waiting(store, "local").items()
    ]


def export_in(store: Path) -> None:
    export(in_store(store))


def export_cloud_log_in(store: Path, api: str, token: Path, end: datetime) -> None:
    logs = CloudLogging(project="sandbox", endpoint=api, access_token_file=token)
    CloudLogExport(in_store(store), logs, "iris", "old").run(end, datetime.now(UTC))


def collect(
    store: Any, yaml: str, *, day: date | None = None, collection: Collection | None = None
) -> RowContract:
    """One run of the only source, as the flow does it."""
    ((name, source),) = parse_sources(yaml).items()
    hold = collection or Collection.begin(store, name)
    with tempfile.TemporaryDirectory() as scratch:
        load = DataLoad(name, source, Place(store, "local"), Path(scratch))
        gathered, contract = load.run(hold.checkpoint(), window_of(day) if day else None)
        hold.take_in(gathered, replacing=source.replaces or day is not None)
    return contract


def collect_in(store: Path, yaml: str) -> None:
    collect(in_store(store), yaml)


def gathered(folder: Path, batch: int, day: str = "2026-11-01") -> Gathered:
    """A batch of rows in two files, and the cursor after them."""
    files = []
    for part in range(2):
        file = folder / f"{batch}-{part}.parquet"
        first, half = batch * BATCH + part * BATCH // 2, BATCH // 2
        parquet.write_table(table({"id": [first + number for number in range(half)]}), file)
        files.append((day, file, half))
    return Gathered(files=tuple(files), newest=f"{batch:06d}", state={"cursor": str(batch + 1)})


def take_in_next(store: Any, folder: Path) -> int:
    """The batch at the cursor, as a run without dlt; which one it was."""
    collection = Collection.begin(store, "orders")
    batch = int(collection.checkpoint().state.get("cursor", "0"))
    collection.take_in(gathered(folder, batch), replacing=False)
    return batch


def take_in_next_in(store: Path) -> None:
    take_in_next(in_store(store), store.parent)
