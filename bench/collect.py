"""Collection against dlt used bare: rows a second from the same REST API into the same kind of files.

`python -m bench.collect [ROWS]`. Both sides use the same source, paginator, cursor and types, each in a fresh
process; ours also checks the contract, files rows by date and commits them with the cursor.
"""

import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

PAGE = 1000
ROUNDS = 3
START = datetime(2026, 11, 1, tzinfo=UTC)
SOURCES = """
sources:
  orders:
    rest: {url: "%s/orders", pages: {type: page_number}, rows: data, since: since}
    cursor: {column: at, initial: 2026-11-01}
    contract: {columns: {id: bigint, at: timestamp, total: double, customer: text}}
"""


def order(number: int) -> dict[str, Any]:
    """A row as an API gives it."""
    at = START + timedelta(seconds=30 * number)
    return {"id": number, "at": at.isoformat(), "total": number * 1.5, "customer": f"c{number % 997}"}


@contextmanager
def api(rows: int) -> Iterator[str]:
    """Pages of orders; serialized beforehand, so that it costs next to nothing."""
    pages = [
        json.dumps({"data": [order(number) for number in range(first, min(first + PAGE, rows))]}).encode()
        for first in range(0, rows, PAGE)
    ]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *given: Any) -> None: ...

        def do_GET(self) -> None:
            page = int(dict(parse_qsl(urlsplit(self.path).query)).get("page", 1))
            body = pages[page - 1] if page <= len(pages) else b'{"data": []}'
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def ours(address: str, folder: Path) -> int:
    """Rows that one run takes in."""
    from blocks.collection import Collection  # noqa: PLC0415
    from blocks.data_load import DataLoad  # noqa: PLC0415
    from blocks.data_sources import Place  # noqa: PLC0415
    from blocks.store import DirectoryStore  # noqa: PLC0415
    from releases.source_file import parse_sources  # noqa: PLC0415

    store = DirectoryStore(path=folder / "store")
    source = parse_sources(SOURCES % address)["orders"]
    collection = Collection.begin(store, "orders")
    load = DataLoad("orders", source, Place(store, "bench"), folder / "scratch")
    gathered, _ = load.run(collection.checkpoint())
    return sum(collection.take_in(gathered, replacing=False).rows.values())


def bare(address: str, folder: Path) -> int:
    """The same with dlt alone, as its documentation shows it."""
    import dlt  # noqa: PLC0415
    from dlt.sources.rest_api import rest_api_source  # noqa: PLC0415

    paginator = {
        "type": "page_number",
        "base_page": 1,
        "page_param": "page",
        "total_path": None,
        "stop_after_empty_page": True,
    }
    cursor = {"cursor_path": "at", "initial_value": START.isoformat(), "start_param": "since"}
    types = {"id": "bigint", "at": "timestamp", "total": "double", "customer": "text"}
    config: Any = {
        "client": {"base_url": f"{address}/"},
        "resources": [
            {
                "name": "orders",
                "columns": {name: {"data_type": type_} for name, type_ in types.items()},
                "endpoint": {
                    "path": "orders",
                    "data_selector": "data",
                    "paginator": paginator,
                    "incremental": cursor,
                },
            }
        ],
    }
    pipeline = dlt.pipeline(
        pipeline_name="bare",
        pipelines_dir=str(folder / "work"),
        destination=dlt.destinations.filesystem(bucket_url=(folder / "out").as_uri()),
        dataset_name="data",
    )
    pipeline.run(rest_api_source(config), loader_file_format="parquet")
    trace: Any = pipeline.last_trace
    return int(trace.last_normalize_info.row_counts["orders"])


def side(name: str, address: str, send: Connection) -> None:
    """One run in this process; sends rows and seconds, imports not counted for either side."""
    import dlt.destinations  # noqa: PLC0415
    import dlt.sources.rest_api  # noqa: PLC0415, F401
    import prefect.blocks.core  # noqa: PLC0415, F401
    import pyarrow.dataset  # noqa: PLC0415, F401

    with tempfile.TemporaryDirectory(prefix="model-deploy-bench-") as folder:
        started, cpu = time.monotonic(), time.process_time()
        rows = {"ours": ours, "bare": bare}[name](address, Path(folder))
        send.send((rows, time.monotonic() - started, time.process_time() - cpu))


def measured(name: str, address: str) -> tuple[int, float, float]:
    """Rows, seconds, and seconds of processor time."""
    receive, send = get_context("spawn").Pipe(duplex=False)
    process = get_context("spawn").Process(target=side, args=(name, address, send))
    process.start()
    process.join(1800)
    found: tuple[int, float, float] = receive.recv()
    return found


def main() -> None:
    """Both sides in turn, the best round of each."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    wall: dict[str, float] = {}
    cpu: dict[str, float] = {}
    with api(rows) as address:
        for _ in range(ROUNDS):
            for name in ("bare", "ours"):
                taken, seconds, busy = measured(name, address)
                if taken != rows:
                    raise SystemExit(f"{name} took {taken} of {rows} rows")
                wall[name] = min(wall.get(name, seconds), seconds)
                cpu[name] = min(cpu.get(name, busy), busy)
    for name, title in (("bare", "dlt alone"), ("ours", "collect-data")):
        print(f"{title:14} {rows / wall[name]:9.0f} rows/s, {rows / cpu[name]:9.0f} rows/s of processor time")
    processor = f"{cpu['bare'] / cpu['ours']:.2f} of processor time"
    print(f"ratio          {wall['bare'] / wall['ours']:9.2f}, {processor}")


if __name__ == "__main__":
    main()
