"""A Prefect server with everything registered, a receiver in front of it, and GitHub's own example payloads."""

import http.client
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments import stack
from deployments.machine.home import Home, free_ports
from deployments.webhook.signature import sign
from tests.github.server import TOKEN, FakeGitHub, running
from tests.prefect_database import have_database

EXAMPLES = "@octokit/webhooks-examples@7.6.1"
MODEL_DEPLOY = str(Path(sys.executable).parent / "model-deploy")
PUBLIC = "https://deploy.example"
ENVIRONMENTS = """
environments:
  local:
    branch: main
    services:
      - {name: iris, repository: acme/models, path: iris}
      - {name: rose, repository: acme/models, path: rose, paths: [/shared/]}
    registry: {prefix: "${registry}"}
    target: {home: "${home}", node: "${node}", ports: "${ports}"}
    store: {path: "${home}/store"}
  examples:
    branch: master
    services: [{name: hello-world, repository: codertocat/hello-world}]
    registry: {prefix: "${registry}"}
    target: {home: "${home}", node: "${node}", ports: "${ports}"}
    store: {path: "${home}/store"}
"""


@dataclass
class PrefectServer:
    """A home of its own with Prefect's server up."""

    home: Home
    github: FakeGitHub

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_API")}
        return {**kept, "MODEL_DEPLOY_HOME": str(self.home.path)}

    def model_deploy(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [MODEL_DEPLOY, *words],
            env={**self.environment, **more},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def connect(self, *words: str, repository: str = "acme/models") -> str:
        """Connect the repository; the secret that GitHub now signs with."""
        words = ("github", "connect", repository, "--url", PUBLIC, "--api", self.github.address, *words)
        done = self.model_deploy(*words, GITHUB_TOKEN=TOKEN)
        assert done.returncode == 0, done.stderr
        return str(self.github.hooks[-1]["config"]["secret"])

    def runs(self, *tags: str) -> list[dict[str, Any]]:
        """Every stored flow run with these tags; not those that Prefect's scheduler writes when it gets to it."""
        found: list[dict[str, Any]] = []
        filters = {"flow_runs": {"tags": {"all_": list(tags)}}} if tags else {}
        with httpx.Client(base_url=stack.api_url(self.home), timeout=30) as client:
            while True:
                page = client.post("/flow_runs/filter", json={**filters, "offset": len(found)}).json()
                found += page
                if not page:
                    return [run for run in found if not run["auto_scheduled"]]


@dataclass
class Receiver:
    """A receiver that listens, and what GitHub sends to it."""

    port: int
    secret: str
    process: "subprocess.Popen[bytes] | None" = None
    log: Path | None = None
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=30))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def headers(
        self, body: bytes, event: str = "push", delivery: str = "", secret: str = ""
    ) -> dict[str, str]:
        return {
            "Content-Type": "application/json",
            "X-GitHub-Event": event,
            "X-GitHub-Delivery": delivery or delivery_id(),
            "X-Hub-Signature-256": sign(secret or self.secret, body),
        }

    def deliver(
        self,
        payload: Any,
        event: str = "push",
        delivery: str = "",
        secret: str = "",
        **headers: str | bytes | None,
    ) -> httpx.Response:
        """Send as GitHub does; a header given as None is left out."""
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        changed = {name.replace("_", "-"): value for name, value in headers.items()}
        named = {name.lower(): value for name, value in self.headers(body, event, delivery, secret).items()}
        kept = [(name, value) for name, value in {**named, **changed}.items() if value is not None]
        return self.client.post(f"{self.url}/webhooks/github", content=body, headers=kept)


def delivery_id() -> str:
    return f"test-{secrets.token_hex(8)}"


def push(commit: str = "", files: tuple[str, ...] = ("iris/app.py",), **changes: Any) -> dict[str, Any]:
    """A push as GitHub describes it; no two are the same."""
    return {
        "ref": "refs/heads/main",
        "before": "b" * 40,
        "after": commit or secrets.token_hex(20),
        "created": False,
        "deleted": False,
        "forced": False,
        "commits": [{"added": [], "removed": [], "modified": list(files)}],
        "repository": {"full_name": "acme/models", "pushed_at": time.time_ns()},
        **changes,
    }


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """Started the way `model-deploy up` starts it; the blocks come by `apply` and `github connect`."""
    given = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("PREFECT_API")}
    folder = tmp_path_factory.mktemp("prefect")
    home = Home(folder / "home")
    file = folder / "environments.yaml"
    file.write_text(ENVIRONMENTS)
    with running() as github:
        server = PrefectServer(home, github)
        try:
            have_database(home)
            stack.ensure_server(home)
            applied = server.model_deploy("apply", str(file))
            assert applied.returncode == 0, applied.stderr
            register_flows(home)
            yield server
        finally:
            stack.stop(home)
            os.environ.update(given)


def register_flows(home: Home) -> None:
    """With the home's own server, whichever this process was started with."""
    with temporary_settings({PREFECT_API_URL: stack.api_url(home)}):
        stack.register_flows(home, in_containers=False)


@contextmanager
def listening(server: PrefectServer, secret: str, log: Path, **environment: str) -> Iterator[Receiver]:
    """A receiver as a process of its own."""
    (port,) = free_ports(1)
    with log.open("wb") as lines:
        process = subprocess.Popen(
            [MODEL_DEPLOY, "github", "listen", "--port", str(port)],
            env={**server.environment, **environment},
            stdout=lines,
            stderr=lines,
        )
    receiver = Receiver(port, secret, process, log)
    try:
        wait_until_ready(receiver)
        yield receiver
    finally:
        receiver.client.close()
        process.terminate()
        process.wait(20)


def wait_until_ready(receiver: Receiver, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert receiver.process is None or receiver.process.poll() is None, receiver.log
        try:
            if receiver.client.get(f"{receiver.url}/healthz").status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"not ready within {seconds} s: {receiver.log and receiver.log.read_text()}")


@pytest.fixture(scope="session")
def receiver(prefect_server: PrefectServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    secret = prefect_server.connect()
    with listening(prefect_server, secret, tmp_path_factory.mktemp("receiver") / "log") as made:
        yield made


@pytest.fixture(scope="session")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, dict[str, Any]]]:
    """GitHub's own examples: (event, payload)."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip(f"npm is missing: it fetches GitHub's example payloads ({EXAMPLES})")
    folder = tmp_path_factory.mktemp("npm")
    argv = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder), EXAMPLES]
    subprocess.run(argv, check=True, capture_output=True, timeout=120, cwd=folder)
    index = folder / "node_modules" / "@octokit" / "webhooks-examples" / "api.github.com" / "index.json"
    return [
        (event["name"], payload) for event in json.loads(index.read_text()) for payload in event["examples"]
    ]


def raw_request(receiver: Receiver, headers: dict[str, str], *parts: bytes) -> tuple[int, bytes]:
    """Headers and body exactly as given; then we send no more. Status 0: hung up."""
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=20) as connection:
        lines = [f"{name}: {value}" for name, value in {"Host": "test", **headers}.items()]
        head = "\r\n".join(["POST /webhooks/github HTTP/1.1", *lines, "", ""])
        try:
            connection.sendall(head.encode())
            for part in parts:
                connection.sendall(part)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # answered before all was sent
        answer = http.client.HTTPResponse(connection)
        try:
            answer.begin()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
