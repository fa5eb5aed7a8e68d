"""`python -m bench.rollback`: from the decision to the old release's first answer, against stop-and-run."""

import argparse
import statistics
import subprocess
import threading
import time
from collections.abc import Callable

import httpx

from bench.node import LocalNode, local_node
from bench.sample import SAMPLE, sample_image
from bench.stage import Stage, stage
from bench.swap import NAME, replace
from deployments.connection import connected, load
from deployments.machine.home import free_ports
from releases.status import RELEASE_HEADER

SPEC = """
name: sample
run: {health: {path: /healthz}, stop_grace: 1, drain: 2}
"""


def until_answered(url: str, release: int, decide: Callable[[], object]) -> float:
    """Seconds from the decision to the first answer by the release, asked every few milliseconds."""
    found: list[float] = []

    def ask() -> None:
        with httpx.Client() as client:
            while not found:
                if client.get(url).headers.get(RELEASE_HEADER) == str(release):
                    found.append(time.monotonic())
                time.sleep(0.003)

    asking = threading.Thread(target=ask, daemon=True)
    started = time.monotonic()
    asking.start()
    decide()
    asking.join(60)
    return found[0] - started


def in_the_bake(node: LocalNode) -> float:
    node.confirmed(node.release())
    good = node.numbers
    generation = node.switched(node.release())
    seconds = until_answered(
        node.target.url(node.port), good, lambda: node.target.revert("sample", generation)
    )
    time.sleep(0.5)
    return seconds


def container_start(image: str) -> float:
    """What a container of this image takes to its first answer, at the least."""
    started = time.monotonic()
    run = ["docker", "run", "-d", "--init", "--rm", "-P", image]
    name = subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip()
    try:
        port = subprocess.run(["docker", "port", name], capture_output=True, text=True, check=True)
        address = port.stdout.split("-> ")[1].split()[0].replace("0.0.0.0", "127.0.0.1")
        while True:
            try:
                httpx.get(f"http://{address}/healthz", timeout=1)
            except httpx.HTTPError:
                time.sleep(0.01)
            else:
                return time.monotonic() - started
    finally:
        subprocess.run(["docker", "rm", "-fv", name], capture_output=True, check=False)


def stop_and_run(image: str) -> float:
    """The plain script's way back, with the old image at hand."""
    port = free_ports(1)[0]
    try:
        replace(image, port)
        started = time.monotonic()
        replace(image, port)
        return time.monotonic() - started
    finally:
        subprocess.run(["docker", "rm", "-fv", NAME], capture_output=True, check=False)


def after_it(here: Stage, rounds: int) -> list[float]:
    """Whole rollbacks by the flow, called from a process that has imported it."""
    repository = here.folder / "sample"
    repository.mkdir()
    for name in ("Dockerfile", "app.py"):
        (repository / name).write_bytes((SAMPLE / name).read_bytes())
    (repository / "model-deploy.yaml").write_text(SPEC)
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    for words in (["init", "--quiet"], ["add", "-A"], [*identity, "commit", "--quiet", "-m", "sample"]):
        subprocess.run(["git", *words], cwd=repository, check=True)
    for _ in range(rounds + 1):
        here.model_deploy("release", str(repository))
    with connected(quiet=True):
        from flows.rollback import rollback  # noqa: PLC0415 - imports Prefect, which must know its server

        target = load("local").target
        url = target.url(target.service_port("sample", None))
        newest = rounds + 1
        return [
            until_answered(url, newest + number, lambda: rollback(service="sample"))
            for number in range(1, rounds + 1)
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with sample_image() as image:
        with local_node(image) as node:
            baking = [in_the_bake(node) for _ in range(rounds)]
        start = statistics.median(container_start(image) for _ in range(rounds))
        script = statistics.median(stop_and_run(image) for _ in range(rounds))
    with stage() as here:
        later = after_it(here, rounds)
    print(
        f"in the bake     median {statistics.median(baking):.3f} s, worst {max(baking):.3f} s (goal <= 1 s)"
    )
    print(f"container start median {start:.3f} s (docker run to first answer)")
    median = statistics.median(later)
    print(f"after it        median {median:.3f} s, worst {max(later):.3f} s")
    print(f"                {median - start:.3f} s more than the container's start (goal <= 1 s)")
    print(f"stop and run    median {script:.3f} s, nobody answers meanwhile")
    bake = statistics.median(baking) / script
    print(f"ratio           in the bake {bake:.2f}, after it {median / script:.2f}")


if __name__ == "__main__":
    main()
