"""Prefect's own logs of flow runs, as exported lines."""

import hashlib
import tempfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import orjson
import zstandard
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import LogFilter, LogFilterTimestamp
from prefect.client.schemas.objects import Log
from prefect.client.schemas.sorting import LogSort

from blocks.log_part import part_lines
from releases.log_export import PARTS
from releases.log_segment import partition
from releases.store import AlreadyExists, Store

SERVICE = "prefect"
PAGE = 200
LEVELS = {10: "debug", 20: "info", 30: "warning", 40: "error", 50: "critical"}


def export_hour(store: Store, environment: str, hour: datetime) -> str | None:
    """Everything of the hour that is in no part yet, as one more part; its key, or None."""
    folder = f"{PARTS}{partition(SERVICE, environment, hour)}"
    with tempfile.TemporaryDirectory(prefix="model-deploy-logs-") as scratch:
        known = _known(store, folder, Path(scratch))
        file, ids = Path(scratch) / "part", hashlib.sha256()
        new = 0
        with file.open("wb") as raw, zstandard.ZstdCompressor(level=3).stream_writer(raw) as out:
            for log in _logs(hour):
                if str(log.id) not in known:
                    new += 1
                    ids.update(str(log.id).encode())
                    out.write(orjson.dumps(_line(log), option=orjson.OPT_APPEND_NEWLINE))
        if not new:
            return None
        key = f"{folder}/part-{ids.hexdigest()[:20]}.jsonl.zst"
        try:
            store.upload(key, file)
        except AlreadyExists:
            return None
        return key


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


def _logs(hour: datetime) -> Iterator[Log]:
    """The hour's lines, page by page. Its end belongs to the next hour."""
    end = hour + timedelta(hours=1)
    found = LogFilter(timestamp=LogFilterTimestamp(after_=hour, before_=end - timedelta(microseconds=1)))
    with get_client(sync_client=True) as client:
        yield from _pages(client, found)


def _pages(client: SyncPrefectClient, found: LogFilter) -> Iterator[Log]:
    seen = 0
    while page := client.read_logs(found, limit=PAGE, offset=seen, sort=LogSort.TIMESTAMP_ASC):
        yield from page
        seen += len(page)


def _known(store: Store, folder: str, scratch: Path) -> set[str]:
    """The ids of the lines that are in a part already: lines that came late make a further one."""
    ids: set[str] = set()
    for key in store.list(f"{folder}/"):
        store.download(key, scratch / "known")
        ids.update(orjson.loads(line)["id"] for line in part_lines(scratch / "known"))
    return ids
