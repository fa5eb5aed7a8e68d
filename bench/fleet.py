"""`python -m bench.fleet`: a release to 1, 10, 100 and 1,000 VMs of the sandbox, with simulated agents.

The sandbox and the agents run in a process of their own; what is measured is the controller: wall time, API
calls as the sandbox counts them, and its memory.
"""

import argparse
import hashlib
import math
import multiprocessing
import resource
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from bench import agents
from blocks.smoke import run_checks_on_each
from blocks.targets.compute_engine import ComputeEngineInstances
from deployments.machine.home import free_ports
from releases.release import Release
from releases.spec import Run, SmokeCheck
from releases.status import Phase
from sandbox.server import running
from sandbox.world import Settings, World

ZONE = "europe-west1-b"
SECONDS = 600.0
RIGHT = SmokeCheck.model_validate({"name": "right", "path": "/", "expect": {"json": {"answer": "right"}}})


@dataclass(frozen=True)
class Measured:
    seconds: float
    calls: int
    writes: int
    megabytes: float


def serve(port: int, pipe: Connection) -> None:
    """The cloud, until told to stop; answers how many calls there were."""
    calls: Counter[str] = Counter()

    def counting(app: Any) -> Any:
        async def counted(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http" and scope["path"].startswith("/compute/"):
                calls[scope["path"].rpartition("/")[2]] += 1
            await app(scope, receive, send)

        return counted

    with agents.running(port) as booted:
        world = World(Settings(), booted)
        booted.metadata_port = lambda: world.network.port
        with running(world, wrap=counting) as at:
            pipe.send(at)
            while pipe.recv() != "stop":
                pipe.send((len(booted.of), dict(calls)))


@dataclass
class Cloud:
    pipe: Connection
    api: str
    token: str
    port: int

    def asked(self) -> tuple[int, dict[str, int]]:
        """VMs that have booted, and calls by method."""
        self.pipe.send("count")
        found: tuple[int, dict[str, int]] = self.pipe.recv()
        return found

    def make(self, vms: int) -> None:
        disk = {
            "boot": True,
            "initializeParams": {"sourceImage": "projects/cos-cloud/global/images/family/cos-stable"},
        }
        headers = {"Authorization": f"Bearer {self.token}"}
        with httpx.Client(base_url=self.api, headers=headers, timeout=60) as client:

            def insert(number: int) -> None:
                body = {
                    "name": f"vm-{number:04}",
                    "machineType": "e2-small",
                    "disks": [disk],
                    "networkInterfaces": [{}],
                    "labels": {"fleet": str(vms)},
                }
                client.post(
                    f"/compute/v1/projects/sandbox/zones/{ZONE}/instances", json=body
                ).raise_for_status()

            with ThreadPoolExecutor(8) as pool:
                list(pool.map(insert, range(vms)))
        while self.asked()[0] < vms:
            time.sleep(0.1)


@contextmanager
def cloud() -> Iterator[Cloud]:
    port = free_ports(1)[0]
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(port, there), daemon=True)
    process.start()
    at = here.recv()
    try:
        yield Cloud(here, at.api, at.token, port)
    finally:
        here.send("stop")
        process.join(30)
        process.kill()


def release(number: int, port: int) -> Release:
    return Release(
        service="iris",
        environment="bench",
        number=number,
        image=f"registry/iris@sha256:{number:064x}",
        version=str(number),
        port=8000,
        public_port=port,
        run=Run(),
        confirm_window=600,
        created=datetime.now(UTC),
    )


def deploy(target: ComputeEngineInstances, number: int) -> None:
    """The steps of flows/deploying.py, without Prefect."""
    port, token = target.ports[0], f"t{number}"
    made, key = release(number, port), hashlib.sha256(token.encode()).hexdigest()
    target.ensure_node()
    target.desired("iris")
    generation = 0
    for wave in target.waves():
        generation = wave.propose(made, key)
        wave.wait_for("iris", generation, lambda one: one.phase is Phase.verify, SECONDS)
        run_checks_on_each([RIGHT], wave.urls(port), number, token, lambda: None)
        wave.shift("iris", generation, 100)
        wave.wait_for("iris", generation, lambda one: one.phase is Phase.bake, SECONDS)
        run_checks_on_each([RIGHT], wave.urls(port), number, None, lambda: None)
    target.confirm("iris", generation)
    target.wait_for("iris", generation, lambda one: one.confirmed_generation == generation, SECONDS)


def measure(vms: int, waves: int, token: Path) -> Measured:
    with cloud() as made:
        token.write_text(made.token)
        made.make(vms)
        most = max(1, math.ceil((vms - 1) / max(1, waves - 1)))

        def target() -> ComputeEngineInstances:
            return ComputeEngineInstances(
                project="sandbox",
                zones=[ZONE],
                labels={"fleet": str(vms)},
                ports=[made.port],
                max_unavailable=most,
                endpoint=made.api,
                access_token_file=token,
            )

        deploy(target(), 1)
        _, before = made.asked()
        started = time.monotonic()
        deploy(target(), 2)
        seconds = time.monotonic() - started
        _, after = made.asked()
    calls = {name: count - before.get(name, 0) for name, count in after.items()}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Measured(seconds, sum(calls.values()), calls.get("setMetadata", 0), peak)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vms", type=int, nargs="+", default=[1, 10, 100, 1000])
    parser.add_argument("--waves", type=int, default=10)
    given = parser.parse_args()
    print(f"{'VMs':>6}{'waves':>7}{'seconds':>9}{'calls':>8}{'per VM':>8}{'writes':>8}{'peak MB':>9}")
    one: float | None = None
    with TemporaryDirectory(prefix="model-deploy-bench-") as folder:
        for vms in given.vms:
            waves = min(vms, given.waves)
            came = measure(vms, waves, Path(folder) / "token")
            print(
                f"{vms:>6}{waves:>7}{came.seconds:>9.2f}{came.calls:>8}{came.calls / vms:>8.2f}"
                f"{came.writes:>8}{came.megabytes:>9.0f}"
            )
            one = one or came.seconds / waves
    goal = 1.5 * given.waves * (one or 0)
    print(f"goals: at most 6 calls per VM; {given.waves} waves within {goal:.1f} s; flat memory")


if __name__ == "__main__":
    main()
