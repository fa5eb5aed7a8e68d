"""`/_model-deploy/status`, behind the edge, on every port that users reach.

A failed container's last words are for whoever released it, and shows the secret that reaches a candidate.
"""

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from releases.status import CANDIDATE_HEADER, STATUS_PATH, NodeStatus

PORT = 9180


def serve(status: Callable[[str], NodeStatus]) -> None:
    """Answer for ever; only the edge reaches this port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            known = self.path == STATUS_PATH
            token = self.headers.get(CANDIDATE_HEADER, "")
            body = status(token).model_dump_json().encode() if known else b"{}"
            self.send_response(200 if known else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
            """Say nothing: it is asked many times a second during a release."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """A client that went away is no news."""

    Server(("", PORT), Handler).serve_forever()
