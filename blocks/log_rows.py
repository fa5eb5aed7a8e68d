"""The rows that a service has logged: lines of exported parts that are JSON objects with a certain field."""

import tempfile
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dlt
import orjson

from blocks.log_part import part_lines
from releases.data_source import ServiceLog
from releases.log_export import PARTS
from releases.store import Store

if TYPE_CHECKING:
    from dlt.extract import DltResource

KEPT_DAYS = 30  # a part that comes later than this after a newer one is not looked at
BATCH = 5000
MICROSECONDS = len("2026-11-24T01:02:03.123456")  # what Parquet's timestamps hold


def rows_of_log(log: ServiceLog, store: Store, environment: str) -> "DltResource":
    """Every part once: which ones were read is in dlt's state, committed with the rows."""

    @dlt.resource(name="rows")
    def rows() -> Iterator[list[dict[str, Any]]]:
        read: dict[str, list[str]] = dlt.current.resource_state().setdefault("parts", {})
        oldest = str(date.fromisoformat(max(read)) - timedelta(days=KEPT_DAYS)) if read else ""
        prefix = f"{PARTS}service={log.service}/environment={environment}/"
        with tempfile.TemporaryDirectory(prefix="model-deploy-log-rows-") as scratch:
            for key in list(store.list(prefix)):
                day = key.removeprefix(prefix).partition("/")[0].removeprefix("date=")
                if day >= oldest and key not in read.get(day, []):
                    yield from _batches(_rows(store, key, Path(scratch) / "part", log.field))
                    read.setdefault(day, []).append(key)
        for day in [day for day in read if day < oldest]:
            del read[day]

    return rows()


def _rows(store: Store, key: str, scratch: Path, field: str) -> Iterator[dict[str, Any]]:
    store.download(key, scratch)
    mark = f'\\"{field}\\"'.encode()
    for line in part_lines(scratch):
        if mark not in line:
            continue
        whole = orjson.loads(line)
        try:
            said = orjson.loads(whole["line"])
        except orjson.JSONDecodeError:
            continue
        if isinstance(said, dict) and field in said:
            yield {
                **_flat(said, field),
                "time": whole["time"][:MICROSECONDS] + "Z",
                "release": whole.get("release", 0),
                "model_version": whole.get("model_version", ""),
                "container": whole.get("container", ""),
            }


def _batches(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:

    while batch := list(islice(rows, BATCH)):
        yield batch


def _flat(said: dict[str, Any], field: str) -> dict[str, Any]:
    """The field's own values as columns, so that a table reader sees each feature."""
    inside = said[field]
    if not isinstance(inside, dict):
        return said
    rest = {name: value for name, value in said.items() if name != field}
    return {**rest, **{f"{field}__{name}": value for name, value in inside.items()}}
