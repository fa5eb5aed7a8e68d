"""Prefect's own logs of flow runs, as exported lines."""

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import orjson
import zstandard
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    LogFilter,
    LogFilterTimestamp,
)
from prefect.client.schemas.objects import Log
from prefect.client.schemas.sorting import LogSort
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from blocks.log_part import part_lines
from releases.log_export import EXPORTS, PARTS, part_key
from releases.log_segment import partition
from releases.problem import Failed
from releases.store import AlreadyExists, Changed, NotFound, Store

SERVICE = "prefect"
PAGE = 200
ATTEMPTS = 20
LATE = timedelta(hours=3)  # a line that comes later is in no part
MOST = timedelta(days=14)  # that a run makes up for
NAMED_BY = ("environment", "to_environment")  # parameters of a flow
LEVELS = {10: "debug", 20: "info", 30: "warning", 40: "error", 50: "critical"}


class Reached(BaseModel):
    """The checkpoint of an environment."""

    model_config = ConfigDict(extra="ignore")

    until: datetime = Field(description="Every hour before this was exported.")


def hours_due(store: Store, environment: str, end: datetime) -> list[datetime]:
    """What runs before this one have not done, and the hours in which lines may have come late."""
    reached = _reached(store, environment)[0]
    first = (min(reached.until, end) if reached else end) - LATE
    first = max(first, end - MOST)
    return [first + timedelta(hours=number) for number in range((end - first) // timedelta(hours=1))]


def reach(store: Store, environment: str, end: datetime) -> None:
    """Every hour before this was exported."""
    reached, generation = _reached(store, environment)
    if reached is None or reached.until < end:
        with suppress(Changed):  # another run's is as good: lines that come late are looked for anyway
            store.replace(_key(environment), Reached(until=end).model_dump_json().encode(), generation)


def export_hour(store: Store, environment: str, hour: datetime) -> str | None:
    """Everything of the hour that is in no part yet, as one more part; its key, or None. Raises Failed.

    A part's name is its number: of two runs at once one is told that the number is taken, and looks again.
    """
    folder = f"{PARTS}{partition(SERVICE, environment, hour)}"
    for _ in range(ATTEMPTS):
        with tempfile.TemporaryDirectory(prefix="model-deploy-logs-") as scratch:
            there = list(store.list(f"{folder}/"))
            known = _known(store, there, Path(scratch))
            file = Path(scratch) / "part"
            if not _write(file, (log for log in _logs(environment, hour) if str(log.id) not in known)):
                return None
            key = part_key(folder.removeprefix(PARTS), [SERVICE, environment, str(hour), str(len(there))])
            try:
                store.upload(key, file)
            except AlreadyExists:
                continue
            return key
    raise Failed("other runs export the same lines all the time", where=folder)


def _write(file: Path, logs: Iterator[Log]) -> int:
    """How many they were."""
    count = 0
    with file.open("wb") as raw, zstandard.ZstdCompressor(level=3).stream_writer(raw) as out:
        for log in logs:
            out.write(orjson.dumps(_line(log), option=orjson.OPT_APPEND_NEWLINE))
            count += 1
    return count


def _reached(store: Store, environment: str) -> tuple[Reached | None, int]:
    try:
        data, generation = store.read(_key(environment))
        return Reached.model_validate_json(data), generation
    except NotFound:
        return None, 0
    except ValidationError as error:
        raise Failed("the export's checkpoint cannot be read", where=_key(environment)) from error


def _key(environment: str) -> str:
    return f"{EXPORTS}service={SERVICE}/environment={environment}.json"


def _line(log: Log) -> dict[str, object]:
    return {
        "node": SERVICE,
        "line": log.message,
        "stream": LEVELS.get(log.level, str(log.level)),
        "time": f"{log.timestamp:%Y-%m-%dT%H:%M:%S.%f}000Z",
        "logger": log.name,
        "flow_run": str(log.flow_run_id or ""),
        "task_run": str(log.task_run_id or ""),
        "id": str(log.id),
    }


def _logs(environment: str, hour: datetime) -> Iterator[Log]:
    """The hour's lines, page by page: the environment's, and those of runs that name none.

    The hour's end belongs to the next hour.
    """
    end = hour + timedelta(hours=1)
    found = LogFilter(timestamp=LogFilterTimestamp(after_=hour, before_=end - timedelta(microseconds=1)))
    with get_client(sync_client=True) as client:
        others: dict[UUID, bool] = {}
        for page in _pages(client, found):
            runs = {log.flow_run_id for log in page if log.flow_run_id} - set(others)
            others.update(_of_others(client, runs, environment))
            yield from (log for log in page if log.flow_run_id is None or not others[log.flow_run_id])


def _of_others(client: SyncPrefectClient, runs: set[UUID], environment: str) -> dict[UUID, bool]:
    """Whether a run was for another environment; one that is deleted, or names none, is everybody's."""
    wanted = FlowRunFilter(id=FlowRunFilterId(any_=list(runs)))
    found = client.read_flow_runs(flow_run_filter=wanted, limit=PAGE) if runs else []
    others = dict.fromkeys(runs, False)
    for run in found:
        named = [run.parameters.get(name) for name in NAMED_BY]
        others[run.id] = any(named) and environment not in named
    return others


def _pages(client: SyncPrefectClient, found: LogFilter) -> Iterator[list[Log]]:
    seen = 0
    while page := client.read_logs(found, limit=PAGE, offset=seen, sort=LogSort.TIMESTAMP_ASC):
        yield page
        seen += len(page)


def _known(store: Store, parts: list[str], scratch: Path) -> set[str]:
    """The ids of the lines that are in a part already: lines that came late make a further one."""
    ids: set[str] = set()
    for key in parts:
        store.download(key, scratch / "known")
        ids.update(orjson.loads(line)["id"] for line in part_lines(scratch / "known"))
    return ids
