"""`python -m bench.overhead`: time and memory apart from the engine's work; imports of each entry point."""

import json
import statistics
import subprocess
import sys
import time

from bench.node import local_node
from bench.sample import sample_image
from bench.stage import COMMAND, Stage, stage, timed
from deployments.stack import ROOT, environment

ENTRY_POINTS = {
    "python itself": "pass",
    "prefect alone": "import prefect",
    "flows.release": "import flows.release",
    "flows.rollback": "import flows.rollback",
    "agent": "import agent.__main__",
}


def imports(here: Stage) -> None:
    values = environment(here.home)
    for name, code in ENTRY_POINTS.items():
        argv = [sys.executable, "-c", code]
        seconds = statistics.median(timed(argv, {**here.environment, **values}, ROOT)[0] for _ in range(3))
        print(f"{name:<24}{seconds:>7.2f} s{peak(argv, {**here.environment, **values}):>8.0f} MB")
    helped = [str(COMMAND), "--help"]
    seconds = statistics.median(timed(helped, here.environment)[0] for _ in range(5))
    memory = peak(helped, here.environment)
    print(f"{'model-deploy --help':<24}{seconds:>7.2f} s{memory:>8.0f} MB   (goal < 0.3 s)")


def peak(argv: list[str], values: dict[str, str]) -> float:
    """Largest resident size in MB."""
    code = (
        "import resource, subprocess, sys;"
        "subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *argv], env=values, cwd=ROOT, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def flow(here: Stage) -> None:
    repository = here.folder / "ours"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(repository)], check=True)
    here.model_deploy("release", str(repository))
    prefect = statistics.median(here.prefect_seconds() for _ in range(3))
    argv = ["release", str(repository), "--json"]
    rounds = [here.model_deploy(*argv) for _ in range(3)]
    wall = statistics.median(seconds for seconds, _ in rounds)
    steps = json.loads(rounds[-1][1])["seconds"]
    print(f"\na release with no change: {wall:.2f} s; of it")
    print(f"{'Prefect (a flow that does nothing)':<40}{prefect:>7.2f} s")
    for step, seconds in steps.items():
        print(f"{step:<40}{seconds:>7.2f} s")
    print(f"{'the rest: blocks, ledger, pages':<40}{wall - prefect - sum(steps.values()):>7.2f} s")
    print(f"ratio: a release with no change / a flow that does nothing: {wall / prefect:.2f}")
    print(f"largest memory {peak([str(COMMAND), *argv], here.environment):.0f} MB")


def agent() -> None:
    with sample_image() as image, local_node(image) as node:
        node.confirmed(node.release())
        name = f"{node.target.node}-agent"
        show = ["docker", "stats", "--no-stream", "--format", "{{.MemUsage}}", name]
        used = subprocess.run(show, capture_output=True, text=True, check=True).stdout.split("/")[0].strip()
        subprocess.run(["docker", "kill", name], capture_output=True, check=True)
        before = node.target.node_status().at
        started = time.monotonic()
        subprocess.run(["docker", "start", name], capture_output=True, check=True)
        while node.target.node_status().at == before:
            time.sleep(0.01)
        seconds = time.monotonic() - started
        print(f"\nagent: at rest {used} (goal < 60 MB); start to its first report {seconds:.2f} s")


def main() -> None:
    with stage() as here:
        imports(here)
        flow(here)
    agent()


if __name__ == "__main__":
    main()
