"""A pull that nobody wants any more; a server that goes on and on stands in for the engine."""

import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from agent.engine import Engine
from agent.failure import Interrupted
from agent.images import Images
from agent.kept import Kept
from agent.memory import Disk
from agent.secrets import SecretFiles

PROGRESS = b'{"status": "Downloading"}\r\n'
LONG = 10.0
IMAGE = "registry.test/iris@sha256:" + "0" * 64


class Pulling(BaseHTTPRequestHandler):
    """An engine whose pull takes long, and ends when it is hung up on."""

    protocol_version = "HTTP/1.1"
    hung_up: threading.Event

    def do_GET(self) -> None:
        """`/version`."""
        body = b'{"ApiVersion": "1.41"}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        """`/images/create`."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            until = time.monotonic() + LONG
            while time.monotonic() < until:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(PROGRESS), PROGRESS))
            self.wfile.write(b"0\r\n\r\n")
        except ConnectionError:
            self.hung_up.set()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def hung_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Set when nobody listens to the engine any more."""
    said = threading.Event()
    handler = type("Engine", (Pulling,), {"hung_up": said})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{server.server_port}")
        yield said
        server.shutdown()


def after(looks: int) -> Callable[[], bool]:
    """Something else is wanted once it was asked so often."""
    left = iter(range(looks))
    return lambda: next(left, None) is None


def test_a_pull_ends_when_something_else_is_wanted(hung_up: threading.Event, tmp_path: Path) -> None:
    engine, disk = Engine("n", SecretFiles(tmp_path), tmp_path), Disk(tmp_path)
    images = Images(engine, Kept(disk, "images", set, lambda _: True), lambda: 0)
    with pytest.raises(Interrupted):
        images.pull("iris", IMAGE, after(100))
    assert hung_up.wait(LONG / 2), "the engine goes on pulling"
    assert disk.kept("images") == {}
