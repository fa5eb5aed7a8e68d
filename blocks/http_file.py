"""The rows of a file over HTTP, read as it comes."""

import csv
import io
import tempfile
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import dlt
import orjson
from dlt.sources.helpers import requests

from releases.data_source import HttpFile

if TYPE_CHECKING:
    from dlt.extract import DltResource

BATCH = 5000
BLOCK = 1 << 20


def rows_of_file(file: HttpFile, auth: Any) -> "DltResource":
    """Every row of it. A connection that breaks half-way fails the run: nothing is taken in."""

    @dlt.resource(name="rows")
    def rows() -> Iterator[list[dict[str, Any]]]:
        with tempfile.TemporaryFile(prefix="model-deploy-file-") as whole:
            answer = requests.get(file.url, auth=auth, stream=True)
            for block in answer.iter_content(BLOCK):
                whole.write(block)
            whole.seek(0)
            found = READERS[file.format](whole)
            while batch := list(islice(found, BATCH)):
                yield batch

    return rows()


def _csv(file: Any) -> Iterator[dict[str, Any]]:
    """An empty field is no value."""
    for row in csv.DictReader(io.TextIOWrapper(file, encoding="utf-8-sig", newline="")):
        yield {name: value or None for name, value in row.items()}


def _jsonl(file: Any) -> Iterator[dict[str, Any]]:
    return (orjson.loads(line) for line in file if line.strip())


def _parquet(file: Any) -> Iterator[dict[str, Any]]:
    from pyarrow.parquet import ParquetFile  # noqa: PLC0415

    for batch in ParquetFile(file).iter_batches(BATCH):
        yield from batch.to_pylist()


READERS = {"csv": _csv, "jsonl": _jsonl, "parquet": _parquet}
