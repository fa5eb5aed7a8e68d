"""A home of its own with a real Prefect server, engine and registry, and a repository to release from."""

import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import httpx

from bench.sample import SAMPLE
from blocks.targets.local import LocalTarget
from deployments.machine.home import Home
from deployments.machine.images import agent_image
from tests.controllers import Command, Controllers, Done, wait_until
from tests.prefect_api import ask
from tests.prefect_database import have_database

SPEC = """
name: sample
run: {health: {path: /healthz, timeout: 5}, stop_grace: 1, drain: 2, env: {BEHAVIOUR: "%s"}}
smoke: [{name: right, path: /, requests: 3, expect: {json: {answer: right}, p95: 0.5}}]
confirm: {bake: %s, window: %s}
"""


@dataclass
class Place:
    repository: Path
    home: Home
    node: str
    environment: dict[str, str]
    controllers: Controllers = field(init=False)
    known_well: int = 0  # a release

    def start(self, *arguments: str) -> Command:
        return self.controllers.start(*arguments, cwd=self.repository)

    def model_deploy(self, *arguments: str) -> Done:
        return self.start(*arguments).wait()

    def commit(
        self, behaviour: str = "", bake: float = 0, window: float = 30, spec: str | None = None
    ) -> None:
        text = SPEC % (behaviour, bake, window) if spec is None else spec
        (self.repository / "model-deploy.yaml").write_text(text)
        self.git("add", "-A")
        self.git("commit", "--quiet", "--allow-empty", "-m", behaviour or "well")

    def git(self, *words: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
        subprocess.run(
            ["git", "-C", str(self.repository), *identity, *words], check=True, capture_output=True
        )

    def released(self, behaviour: str = "", **options: float) -> str:
        """Commit and release; returns what was printed."""
        self.commit(behaviour, **options)
        done = self.model_deploy("release", ".")
        assert done.returncode == 0, done.stderr
        self.known_well = 0 if behaviour else self.live()
        return done.stdout

    def well(self) -> int:
        """The number of a release that is live, alone and well: what an earlier test has left is as good as new."""
        if self.known_well and self.live() == self.known_well and self.containers() == 1:
            self.commit()
        else:
            self.released()
        return self.live()

    def api(self, method: str, path: str, **body: object) -> Any:
        """Ask the Prefect server, as its UI does."""
        address = f"http://127.0.0.1:{self.home.chosen().prefect_port}/api"
        return ask(address, method, path, body or None)

    def runs(self, flow: str) -> list[dict[str, Any]]:
        """The flow's runs, newest first."""
        return self.api("POST", "/flow_runs/filter", flows={"name": {"any_": [flow]}}, sort="START_TIME_DESC")

    def states(self, flow: str) -> list[str]:
        return [run["state"]["name"] for run in self.runs(flow)]

    def cancel_newest(self) -> None:
        """What the UI's cancel button sends."""
        run = self.runs("release")[0]
        self.api("POST", f"/flow_runs/{run['id']}/set_state", state={"type": "CANCELLING"})

    def forget_leases(self) -> None:
        """What a minute does: the place of a run that was killed becomes free."""
        for limit in self.api("POST", "/v2/concurrency_limits/filter", limit=100):
            if limit["active_slots"]:
                self.api("PATCH", f"/v2/concurrency_limits/{limit['name']}", active_slots=0)

    def containers(self) -> int:
        """How many of the service's containers are there, running or not."""
        labels = [f"label=model-deploy.node={self.node}", "label=model-deploy.service=sample"]
        argv = ["docker", "ps", "-aq", *(part for label in labels for part in ("--filter", label))]
        return len(subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split())

    def images(self) -> set[str]:
        """The service's on this engine."""
        repository = f"localhost:{self.home.chosen().registry_port}/sample"
        argv = ["docker", "image", "ls", "--quiet", "--no-trunc", repository]
        return set(subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split())

    @contextmanager
    def without_litter(self, images: int) -> Iterator[None]:
        """In the end only what serves has a container, and there are at most so many more images."""
        before = self.images()
        yield
        wait_until(lambda: self.containers() == 1, 15)
        assert len(self.images() - before) <= images, "images were left"

    @property
    def target(self) -> LocalTarget:
        ports = list(self.home.chosen().edge_ports)
        return LocalTarget(home=self.home.path, node=self.node, ports=ports, agent_image=agent_image())

    def answer(self) -> httpx.Response:
        return httpx.get(self.url(), timeout=5)

    def live(self) -> int:
        """The release that answers."""
        return int(self.answer().headers["X-Model-Deploy-Release"])

    def url(self) -> str:
        return self.target.url(self.target.service_port("sample", None))

    @property
    def port(self) -> int:
        return urlparse(self.url()).port or 0


@contextmanager
def place(folder: Path) -> Iterator[Place]:
    repository = folder / "sample"
    repository.mkdir(parents=True)
    for name in ("Dockerfile", "app.py"):
        (repository / name).write_bytes((SAMPLE / name).read_bytes())
    home, node = folder / "home", f"md-test-{secrets.token_hex(3)}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_API")}
    (folder / "tmp").mkdir()  # what a run that is killed cannot take away goes with the test
    own = {"MODEL_DEPLOY_HOME": str(home), "MODEL_DEPLOY_NODE": node, "TMPDIR": str(folder / "tmp")}
    own["SECRET_OF_THE_WORKER"] = secrets.token_hex(8)
    environment = {**kept, **own}
    made = Place(repository, Home(home), node, environment)
    made.git("init", "--quiet", "--initial-branch=main")
    try:
        have_database(made.home)
        up = command(made, "up", "--no-worker")
        assert up.returncode == 0, up.stderr
        made.controllers = Controllers(folder / "commands", environment)
        yield made
    finally:
        if hasattr(made, "controllers"):
            made.controllers.close()
        command(made, "down", "--data", "--keep-images")


def command(made: Place, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """A command as a person starts it, with nothing imported before."""
    import sys

    argv = [str(Path(sys.executable).parent / "model-deploy"), *arguments]
    return subprocess.run(
        argv,
        env=made.environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        cwd=made.repository,
    )
