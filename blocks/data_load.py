"""One load: dlt takes rows from a source into a scratch folder, as Parquet files by date.

dlt alone takes rows twice where the machine is lost in mid-load: it writes data, then its state, then the
mark of the load, and knows what is unfinished only from its working folder. So it works in a scratch folder
here, and what it must remember travels in the checkpoint, with the rows (blocks/collection.py).
"""

import os
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blocks.collection import Gathered
from blocks.data_sources import ROWS, Place, Window, masked, resource
from blocks.row_contract import RowContract
from blocks.row_selector import RowSelector
from releases.collection import Checkpoint
from releases.data_source import Source
from releases.problem import Failed, Problem

if TYPE_CHECKING:
    from dlt import Pipeline

DATASET = "data"
SETTINGS = {
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "ERROR",
    "DATA_WRITER__DISABLE_COMPRESSION": "true",  # of what lies in the scratch folder for a moment
}
MOST_DATES = 20_000


@dataclass(frozen=True)
class DataLoad:
    """One source into one scratch folder."""

    name: str
    source: Source
    place: Place
    scratch: Path

    def run(self, now: Checkpoint, window: Window | None = None) -> tuple[Gathered, RowContract]:
        """Gather what is new, or a backfill's window. Raises Failed, BadInput."""
        goes_on = window is None and not self.source.replaces
        known = now.rejected if goes_on else ()
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        self._lay_down({} if window else now.state)
        with RowContract(self.source.contract, self.scratch / "rejected.jsonl", known) as contract:
            selector = RowSelector(self.source.rest) if self.source.rest else None
            self._extract(contract, window, selector)
        if selector and not now.rows:  # where it has found rows before, an answer may lack the place for none
            selector.check(self.name)
        files, newest = self._by_date()
        gathered = Gathered(
            files=tuple(files),
            rejected=contract.file if contract.rejected else None,
            quarantined=contract.rejected,
            hashes=tuple(contract.hashes),
            newest=newest,
            state=None if window else self._picked_up(),
        )
        return gathered, contract

    def _extract(self, contract: RowContract, window: Window | None, selector: RowSelector | None) -> None:
        from dlt.pipeline.exceptions import PipelineStepFailed  # noqa: PLC0415

        rows = resource(self.source, self.place, window, selector)
        rows.add_filter(contract)
        try:
            self._pipeline().run(rows, loader_file_format="parquet", write_disposition="append")
        except PipelineStepFailed as error:
            cause = error.exception
            while not isinstance(cause, Problem) and cause.__cause__ is not None:
                cause = cause.__cause__
            if isinstance(cause, Problem):
                raise cause from None
            got = masked(f"{type(cause).__name__}: {cause}", self.source)[:500]
            # Not chained: a traceback would show addresses, and those may hold secrets.
            raise Failed(f"{self.name} cannot be collected", where=f"dlt, {error.step}", got=got) from None

    def _pipeline(self) -> "Pipeline":
        import dlt  # noqa: PLC0415

        return dlt.pipeline(
            pipeline_name=self.name.replace("-", "_"),
            pipelines_dir=str(self.scratch / "work"),
            destination=dlt.destinations.filesystem(
                bucket_url=self._out.as_uri(), layout="{table_name}/{load_id}.{file_id}.{ext}"
            ),
            dataset_name=DATASET,
        )

    def _lay_down(self, state: dict[str, str]) -> None:
        """Where dlt looks for what an earlier load has left."""
        for name, text in state.items():
            file = self._out / DATASET / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")

    def _picked_up(self) -> dict[str, str]:
        """The newest of each of dlt's own files: the cursor and the schema."""
        root = self._out / DATASET
        found = [file for file in root.rglob("*") if file.is_file() and file.suffix != ".parquet"]
        newest = {file.parent: file for file in sorted(found, key=_load_id)}
        return {
            file.relative_to(root).as_posix(): file.read_text(encoding="utf-8") for file in newest.values()
        }

    def _by_date(self) -> tuple[list[tuple[str, Path, int]], str]:
        """Every row under its date, and the cursor's highest value."""
        from pyarrow import compute, parquet  # noqa: PLC0415

        cursor = _as_stored(self.source.cursor.column if self.source.cursor else self.source.dated_by)
        files, highest = [], []
        for file in sorted((self._out / DATASET / ROWS).glob("*.parquet")):
            files += self._split(file)
            if cursor:
                highest.append(compute.max(parquet.read_table(file, columns=[cursor]).column(0)).as_py())
        return files, _text(max(highest)) if highest else ""

    def _split(self, file: Path) -> list[tuple[str, Path, int]]:
        """The file's rows by date. Files of one load may differ in their columns, so each by itself."""
        from pyarrow import dataset, date32, parquet, schema  # noqa: PLC0415

        dated_by = _as_stored(self.source.dated_by)
        if dated_by is None:
            today = f"{datetime.now(UTC):%Y-%m-%d}"
            return [(today, file, parquet.read_metadata(file).num_rows)]
        rows: Any = dataset.dataset(file, format="parquet")
        columns = {name: dataset.field(name) for name in rows.schema.names}
        columns["date"] = dataset.field(dated_by).cast(date32())
        folder = self.scratch / "dates" / file.stem
        dataset.write_dataset(
            rows.scanner(columns=columns),
            folder,
            format="parquet",
            partitioning=dataset.partitioning(schema([("date", date32())]), flavor="hive"),
            max_partitions=MOST_DATES,
        )
        return [
            (part.parent.name.removeprefix("date="), part, parquet.read_metadata(part).num_rows)
            for part in sorted(folder.rglob("*.parquet"))
        ]

    @property
    def _out(self) -> Path:
        return self.scratch / "out"


def _as_stored(column: str | None) -> str | None:
    """What dlt calls a column in its files: `updatedAt` becomes `updated_at`."""
    from dlt.common.normalizers.naming.snake_case import NamingConvention  # noqa: PLC0415

    return NamingConvention().normalize_identifier(column) if column else None


def _load_id(file: Path) -> str:
    """Dlt's file names are PIPELINE__LOAD__HASH, where LOAD is a time."""
    return file.name.split("__")[1] if "__" in file.name else ""


def _text(value: date | datetime | str | float) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)
