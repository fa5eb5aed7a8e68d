"""`script/demo-cloud`: a release goes cloud-dev → cloud-staging → cloud-production on VMs, and back there."""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, product
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

import yaml

from blocks.docker_client import find_docker
from deployments.connection import connected
from deployments.demo import FLOWER, JSON, another_version, this_machine
from deployments.ending import end_with
from deployments.load import Request, running
from deployments.machine.home import Home
from deployments.machine.images import EDGE, agent_image
from deployments.machine.registry import forget_images
from deployments.set_up import SetUp
from deployments.stack import ROOT
from releases.problem import Failed

if TYPE_CHECKING:
    from prefect.blocks.core import Block

# The names are the demo's own: an environment that is called `production` may be a real one.
DEV, PRODUCTION = "cloud-dev", "cloud-production"
ENVIRONMENTS = (DEV, "cloud-staging", PRODUCTION)
ZONE = "europe-west1-b"
PORT = 8080
VMS = 2
BUCKETS = {"bucket": "models", "data_bucket": "data"}  # how `provision` calls them
START_SECONDS = 60
STOP_SECONDS = 60


@dataclass(frozen=True)
class Sandbox:
    """Where the stand-in for Google Cloud is, and how it is called."""

    project: str
    api: str
    token: Path

    @property
    def registry(self) -> str:
        """Its Artifact Registry, as the engine calls it."""
        return f"localhost:{urlparse(self.api).port}"

    @property
    def way(self) -> dict[str, str]:
        """What every block that calls Google is told."""
        return {"endpoint": self.api, "access_token_file": str(self.token)}


def main() -> int:
    """Show it; 1 if anything is not as promised."""
    set_up = SetUp()
    this_machine(set_up, [])
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="model-deploy-cloud-")))
        home = stack.enter_context(connected(quiet=False))
        cloud = stack.enter_context(sandbox(folder, f"localhost:{home.chosen().registry_port}"))
        file = folder / "environments.yaml"
        file.write_text(yaml.safe_dump({"environments": described(cloud)}), encoding="utf-8")
        print(
            f"==> {len(ENVIRONMENTS)} environments with {VMS} VMs each (sandbox/ stands in for Google Cloud)"
        )
        for name in ENVIRONMENTS:
            set_up.step(name, partial(provisioned, name, file))
        stack.callback(forgotten)
        failures = story(home, file, folder)
        if sys.stdin.isatty():
            with suppress(EOFError):  # Ctrl-D
                input("\nEnter ends it all: ")
    return 1 if failures else 0


def story(home: Home, file: Path, folder: Path) -> int:
    """Two versions up to production, and back; the number of requests that failed meanwhile."""
    from blocks.environment import load_environment  # noqa: PLC0415 - imports Prefect, which must know its server
    from deployments.apply import apply  # noqa: PLC0415
    from flows.promote import promote  # noqa: PLC0415
    from flows.release import release  # noqa: PLC0415
    from flows.rollback import rollback  # noqa: PLC0415

    apply(home, file)
    for source in (ROOT, another_version(folder / ROOT.name)):
        print(f"==> {source.name} to {DEV}, then what is proven there to the next, up to {PRODUCTION}")
        release(source=str(source), environment=DEV)
        for lower, higher in pairwise(ENVIRONMENTS):
            live = promote("iris", from_environment=lower, to_environment=higher)
            digest = live.image.rpartition("@")[2]
            print(f"  {higher}: release {live.number}, version {live.version}, {digest[:19]}")
    target = load_environment(PRODUCTION).target
    with ExitStack() as stack:
        results = [stack.enter_context(asking(url)) for url in target.urls(PORT)]
        print(f"==> {PRODUCTION} is rolled back, while requests run on both VMs")
        back = rollback("iris", environment=PRODUCTION)
    failed = [failure for result in results for failure in result.failures]
    print(f"  {PRODUCTION}: release {back.number} is version {back.version} again, on every VM")
    print(f"  {len(failed)} of {sum(result.total for result in results)} requests failed {failed[:2] or ''}")
    for url in target.urls(PORT):
        sent = f"-H 'Content-Type: application/json' -d '{json.dumps(FLOWER)}'"
        print(f"try it      curl -s {url}/predict {sent}")
    return len(failed)


@contextmanager
def sandbox(folder: Path, registry: str) -> Iterator[Sandbox]:
    """The stand-in as a process, its images in that registry; its VMs are gone with it. Raises Failed."""
    argv, made = [sys.executable, "-m", "sandbox", "--machines", "--registry", registry], None
    process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        line = _first_line(process)
        if not line:
            raise Failed(
                "the stand-in for Google Cloud does not start", next_step="python -m sandbox --machines"
            )
        said = json.loads(line)
        token = folder / "token"
        token.touch(mode=0o600)
        token.write_text(said["token"], encoding="ascii")
        made = Sandbox(said["project"], said["api"], token)
        yield made
    finally:
        _end(process)
        if made:
            forget_images(find_docker(), made.registry)


def _first_line(process: "subprocess.Popen[str]") -> str:
    """Empty where none comes in time."""
    if process.stdout is None or not select.select([process.stdout], [], [], START_SECONDS)[0]:
        return ""
    return process.stdout.readline()


def _end(process: "subprocess.Popen[str]") -> None:
    """Politely first: it takes its VMs along."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        print("the stand-in for Google Cloud did not end and was killed; its VMs may be left: docker ps")


def described(cloud: Sandbox) -> dict[str, Any]:
    """The three environments, as a team would describe them."""
    lower = dict(zip(ENVIRONMENTS[1:], ENVIRONMENTS, strict=False))
    return {name: _environment(cloud, name, [lower[name]] if name in lower else []) for name in ENVIRONMENTS}


def _environment(cloud: Sandbox, name: str, promotes_from: list[str]) -> dict[str, Any]:
    machines = {"count": VMS, "agent_image": agent_image(), "edge_image": EDGE, "registry": cloud.registry}
    calls = {"project": cloud.project, **cloud.way}
    target = {"type": "compute-engine", "zones": [ZONE], "ports": [PORT], **calls}
    store = {"type": "cloud-storage", **calls}
    return {
        "registry": {"prefix": f"{cloud.registry}/{cloud.project}/model-deploy", "google": cloud.way},
        "target": {**target, "names": [f"{name}-node-{number + 1}" for number in range(VMS)]},
        "store": {**store, **{kind: f"{cloud.project}-{name}-{of}" for kind, of in BUCKETS.items()}},
        "rules": {"promotes_from": promotes_from},
        "cloud": {
            "zone": ZONE,
            "ports": [PORT],
            "sources": ["127.0.0.0/8"],
            "machines": machines,
            **calls,
        },
    }


def provisioned(name: str, file: Path) -> str:
    """What `model-deploy provision --yes` does, without the plan being shown."""
    from deployments.google_cloud import described as in_google_cloud  # noqa: PLC0415

    provisioner = in_google_cloud(name, file).provisioner()
    plan = provisioner.plan()
    for change in plan.todo:
        provisioner.bring(change.wanted)
    return f"{len(plan.todo)} resources made"


def forgotten() -> None:
    """Take the demo's environments out of Prefect: what they name is gone."""
    from blocks.environment import Environment  # noqa: PLC0415
    from blocks.provisioning.google_cloud import GoogleCloud  # noqa: PLC0415

    kinds: tuple[type[Block], ...] = (Environment, GoogleCloud)
    for name, kind in product(ENVIRONMENTS, kinds):
        with suppress(ValueError):  # never applied
            kind.delete(name)


def asking(url: str) -> Any:
    """Predictions asked of one VM, while the block runs."""
    at = urlparse(url)
    sent = json.dumps(FLOWER).encode()
    asked = Request(at.port or 80, "POST", "/predict", sent, JSON, host=at.hostname or "")
    return running(asked, rate=50, senders=2)


if __name__ == "__main__":
    end_with(main)
