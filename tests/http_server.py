"""A server of a test's own, for whatever is asked over HTTP."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

POLL_SECONDS = 0.02  # how soon it notices that the test is over


@dataclass(frozen=True)
class Request:
    """What came."""

    method: str
    path: str
    headers: Message
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What is sent back."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    endless: bool = False  # the body comes again and again, for as long as anybody listens


def json_answer(said: object, status: int = 200) -> Answer:
    """As JSON."""
    return Answer(json.dumps(said).encode(), status, {"Content-Type": "application/json"})


@contextmanager
def serving(answer: Callable[[Request], Answer]) -> Iterator[str]:
    """The address of a server that answers so; several requests at once."""

    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            said = answer(Request(self.command, self.path, self.headers, body))
            self.send_response(said.status)
            length = {"Connection": "close"} if said.endless else {"Content-Length": str(len(said.body))}
            for name, value in {**length, **said.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(OSError):  # who asked may not have waited
                self.wfile.write(said.body)
                while said.endless and not over.wait(POLL_SECONDS):
                    self.wfile.write(said.body)

        do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(POLL_SECONDS,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        over.set()
        server.shutdown()
        thread.join()
        server.server_close()
