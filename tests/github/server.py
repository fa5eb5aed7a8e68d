"""A small GitHub: real HTTP, remembers what it was told, and misbehaves on demand."""

import json
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

TOKEN = "ghp_test"


@dataclass(frozen=True)
class Trouble:
    """An answer instead of the right one; status 0 hangs up."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    message: str = "trouble"


@dataclass
class FakeGitHub:
    """What GitHub knows of one repository."""

    address: str = ""
    trouble: deque[Trouble] = field(default_factory=deque)
    always: Trouble | None = None
    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    statuses: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    shown: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)  # the last of each context
    deployments: list[dict[str, Any]] = field(default_factory=list)
    deployment_statuses: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    hooks: list[dict[str, Any]] = field(default_factory=list)
    releases: list[dict[str, Any]] = field(default_factory=list)
    on_tag: Callable[[str, str], object] = lambda _tag, _commit: None
    history: list[tuple[str, str]] = field(default_factory=list)  # (commit, message), oldest first
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        for expected, pattern, act in ROUTES:
            match = re.fullmatch(pattern, path.partition("?")[0])
            if match and expected == method:
                return act(self, match, body or dict(parse_qsl(path.partition("?")[2])))
        return 404, {"message": "Not Found"}

    def _status(self, match: re.Match[str], body: Any) -> tuple[int, Any]:
        if body["state"] not in {"pending", "success", "failure", "error"} or len(body["description"]) > 140:
            return 422, {"message": "Validation Failed"}
        self.statuses.append((match[1], body))
        self.shown[match[1], body["context"]] = {**body, "created_at": f"{datetime.now(UTC):%FT%TZ}"}
        return 201, {"id": len(self.statuses)}

    def _combined_status(self, match: re.Match[str], _body: Any) -> tuple[int, Any]:
        return 200, {"statuses": [one for (commit, _), one in self.shown.items() if commit == match[1]]}

    def _deployment(self, _match: re.Match[str], body: Any) -> tuple[int, Any]:
        self.deployments.append({**body, "created_at": datetime.now(UTC).isoformat()})
        return 201, {"id": len(self.deployments)}

    def _list_deployments(self, _match: re.Match[str], query: Any) -> tuple[int, Any]:
        wanted = (query["sha"], query["environment"])
        all_of_them = [{**one, "id": number} for number, one in enumerate(self.deployments, 1)]
        return 200, [one for one in reversed(all_of_them) if (one["ref"], one["environment"]) == wanted]

    def _deployment_status(self, match: re.Match[str], body: Any) -> tuple[int, Any]:
        if not 1 <= int(match[1]) <= len(self.deployments):
            return 404, {"message": "Not Found"}
        self.deployment_statuses.append((int(match[1]), body))
        return 201, {"id": 1}

    def _compare(self, match: re.Match[str], _body: Any) -> tuple[int, Any]:
        known = [commit for commit, _ in self.history]
        if match[1] not in known or match[2] not in known:
            return 404, {"message": "Not Found"}
        between = self.history[known.index(match[1]) + 1 : known.index(match[2]) + 1]
        commits = [{"sha": commit, "commit": {"message": message}} for commit, message in between]
        return 200, {"status": "ahead", "commits": commits}

    def _release(self, _match: re.Match[str], body: Any) -> tuple[int, Any]:
        if body["tag_name"] in {release["tag_name"] for release in self.releases}:
            there = {"resource": "Release", "code": "already_exists", "field": "tag_name"}
            return 422, {"message": "Validation Failed", "errors": [there]}
        self.releases.append(body)
        self.on_tag(body["tag_name"], body["target_commitish"])
        return 201, {"id": len(self.releases)}

    def _list_hooks(self, _match: re.Match[str], _body: Any) -> tuple[int, Any]:
        return 200, [{**hook, "config": {**hook["config"], "secret": "********"}} for hook in self.hooks]

    def _add_hook(self, _match: re.Match[str], body: Any) -> tuple[int, Any]:
        self.hooks.append({**body, "id": len(self.hooks) + 1})
        return 201, self.hooks[-1]

    def _change_hook(self, match: re.Match[str], body: Any) -> tuple[int, Any]:
        self.hooks[int(match[1]) - 1] |= body
        return 200, self.hooks[int(match[1]) - 1]


Act = Callable[[FakeGitHub, re.Match[str], Any], tuple[int, Any]]
REPOSITORY = r"/repos/[\w.-]+/[\w.-]+"
ROUTES: list[tuple[str, str, Act]] = [
    ("POST", rf"{REPOSITORY}/statuses/([0-9a-f]+)", FakeGitHub._status),
    ("GET", rf"{REPOSITORY}/commits/([0-9a-f]+)/status", FakeGitHub._combined_status),
    ("POST", rf"{REPOSITORY}/deployments", FakeGitHub._deployment),
    ("GET", rf"{REPOSITORY}/deployments", FakeGitHub._list_deployments),
    ("POST", rf"{REPOSITORY}/deployments/(\d+)/statuses", FakeGitHub._deployment_status),
    ("GET", rf"{REPOSITORY}/compare/([0-9a-f]+)\.\.\.([0-9a-f]+)", FakeGitHub._compare),
    ("POST", rf"{REPOSITORY}/releases", FakeGitHub._release),
    ("GET", rf"{REPOSITORY}/hooks", FakeGitHub._list_hooks),
    ("POST", rf"{REPOSITORY}/hooks", FakeGitHub._add_hook),
    ("PATCH", rf"{REPOSITORY}/hooks/(\d+)", FakeGitHub._change_hook),
]


@contextmanager
def running() -> Iterator[FakeGitHub]:
    """GitHub on a free port of this machine."""
    github = FakeGitHub()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            length = int(self.headers.get("content-length", "0"))
            body = json.loads(self.rfile.read(length)) if length else None
            with github.lock:
                github.requests.append((self.command, self.path, body))
                trouble = github.trouble.popleft() if github.trouble else github.always
                headers: tuple[tuple[str, str], ...] = ()
                if trouble is not None:
                    status, answer, headers = trouble.status, {"message": trouble.message}, trouble.headers
                elif self.headers.get("authorization") != f"Bearer {TOKEN}":
                    status, answer = 401, {"message": "Bad credentials"}
                else:
                    status, answer = github.answer(self.command, self.path, body)
            if status == 0:
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            content = json.dumps(answer).encode()
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = _serve  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    github.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield github
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()
