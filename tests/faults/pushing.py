"""A place whose service is released by pushes: a small GitHub, a receiver, and runs that stand in Prefect."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.controllers import EXECUTE, Command
from tests.deployments.conftest import PUBLIC, Receiver, listening, push, register_flows
from tests.github.server import TOKEN, FakeGitHub, running
from tests.place import Place, command

ENVIRONMENTS = """
environments:
  local:
    branch: main
    reconcile: %s
    services: [{name: sample, repository: acme/models, source: "%s"}]
    registry: {prefix: "${registry}"}
    target: {home: "${home}", node: "${node}", ports: "${ports}"}
    store: {path: "${home}/store"}
"""


@dataclass
class Pushing:
    place: Place
    folder: Path
    github: FakeGitHub
    receiver: Receiver

    def commit(self, behaviour: str = "", **options: float) -> str:
        """A commit on main, as if it had just been pushed."""
        self.place.commit(behaviour, **options)
        return self.head()

    def head(self, branch: str = "main") -> str:
        argv = ["git", "-C", str(self.place.repository), "rev-parse", branch]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()

    def deliver(self, commit: str, **changes: Any) -> httpx.Response:
        return self.receiver.deliver(push(commit, **changes))

    def accepted(self, commit: str, **changes: Any) -> str:
        """Deliver; the run that was stored for it."""
        answer = self.deliver(commit, **changes)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["runs"][0]["flow_run"])

    def execute(self, run: str) -> Command:
        """What a worker does with a run."""
        return self.place.start(EXECUTE, run)

    def state(self, run: str) -> str:
        return str(self.place.api("GET", f"/flow_runs/{run}")["state"]["name"])

    def waiting(self) -> list[dict[str, Any]]:
        """Runs that reconcile has started and no worker has taken yet."""
        filters = {"state": {"type": {"any_": ["SCHEDULED"]}}, "tags": {"all_": ["reconcile"]}}
        return self.place.api("POST", "/flow_runs/filter", flow_runs=filters)

    def said_of(self, commit: str) -> list[tuple[str, str, str]]:
        """What GitHub shows beside the commit: (context, state, description), the last one counts."""
        told = [status for about, status in self.github.statuses if about == commit]
        return [(status["context"], status["state"], status["description"]) for status in told]

    def images(self) -> set[str]:
        """The service's tags in the registry."""
        address = f"http://127.0.0.1:{self.place.home.chosen().registry_port}/v2/sample/tags/list"
        return set(httpx.get(address, timeout=10).json()["tags"])

    def live_commit(self) -> str:
        """The commit of the release that answers."""
        rows = json.loads(self.place.model_deploy("history", "sample", "--json").stdout)
        live = self.place.live()
        return next(row["release"]["revision"] for row in rows if row["release"]["number"] == live)

    def describe(self, reconcile: str = "report") -> None:
        file = self.folder / "environments.yaml"
        file.write_text(ENVIRONMENTS % (reconcile, self.place.repository))
        done = self.place.model_deploy("apply", str(file))
        assert done.returncode == 0, done.stderr


@contextmanager
def pushing(place: Place, folder: Path) -> Iterator[Pushing]:
    register_flows(place.home)
    with running() as github:
        words = ("github", "connect", "acme/models", "--url", PUBLIC, "--api", github.address)
        place.environment["GITHUB_TOKEN"] = TOKEN
        connected = command(place, *words)
        del place.environment["GITHUB_TOKEN"]
        assert connected.returncode == 0, connected.stderr
        secret = str(github.hooks[-1]["config"]["secret"])
        with listening(place, secret, folder / "receiver.log") as receiver:
            made = Pushing(place, folder, github, receiver)
            made.describe()
            try:
                yield made
            finally:
                place.model_deploy("apply")
