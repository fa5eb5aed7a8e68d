"""A small shop's REST API: real HTTP, pages, a token, a limit on requests, files; misbehaves on demand."""

import json
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

START = datetime(2026, 11, 1, tzinfo=UTC)
PAGE = 100


def order(number: int, **more: Any) -> dict[str, Any]:
    """One every ten minutes."""
    at = START + timedelta(minutes=10 * number)
    return {"id": number, "at": at.isoformat(), "total": number * 1.5, "items": ["a", "b"], **more}


@dataclass
class Shop:
    orders: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    token: str = ""
    trouble: deque[tuple[int, dict[str, str]]] = field(default_factory=deque)
    requests: list[str] = field(default_factory=list)
    address: str = ""

    def sell(self, first: int, last: int, **more: Any) -> None:
        self.orders += [order(number, **more) for number in range(first, last)]

    def page(self, query: dict[str, str]) -> dict[str, Any]:
        found = [one for one in self.orders if one["at"] >= query.get("since", "")]
        if "until" in query:
            found = [one for one in found if one["at"] < query["until"]]
        number = int(query.get("page", 1))
        shown = found[(number - 1) * PAGE : number * PAGE]
        more = {key: value for key, value in query.items() if key != "page"}
        following = "&".join(f"{key}={value.replace('+', '%2B')}" for key, value in more.items())
        there_is_more = number * PAGE < len(found)
        return {
            "data": shown,
            "next": f"{self.address}/orders?{following}&page={number + 1}" if there_is_more else None,
        }


@contextmanager
def shop() -> Iterator[Shop]:
    made = Shop()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *given: Any) -> None: ...

        def do_GET(self) -> None:
            made.requests.append(self.path)
            address = urlsplit(self.path)
            status, headers, body = 200, {}, b""
            if made.trouble:
                status, headers = made.trouble.popleft()
            elif made.token and self.headers.get("Authorization") != f"Bearer {made.token}":
                status = 401
            elif address.path in made.files:
                body = made.files[address.path]
            else:
                body = json.dumps(made.page(dict(parse_qsl(address.query)))).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
