"""The local environment as a whole: brought up, taken down."""

import os
import shutil
import time
from collections.abc import Callable

from blocks.command import run
from blocks.docker_client import find_docker
from deployments import stack
from deployments.machine.home import Home
from deployments.machine.prepare import prepare


def bring_up(say: Callable[[str, str, float], None], *, worker: bool) -> str:
    """Engine, images, registry, Prefect's server, blocks, worker; the UI's address. Raises Problem."""
    home = Home()
    prepare(home, say)
    started = time.monotonic()
    address = stack.ensure_server(home)
    say("Prefect server", address, time.monotonic() - started)
    os.environ.update(stack.environment(home))
    from deployments.apply import apply  # noqa: PLC0415 - imports Prefect, which must know its server first

    started = time.monotonic()
    done = ", ".join(f"{change.environment} {change.done}" for change in apply(home))
    say("environments", done, time.monotonic() - started)
    if worker:
        started = time.monotonic()
        stack.ensure_worker(home)
        say("worker", "runs what is started in the UI", time.monotonic() - started)
    return address


def take_down(*, data: bool) -> list[str]:
    """Everything that carries the node's label, and our processes; returns what was done."""
    home = Home()
    if not (home.path / "machine.json").exists():
        return ["nothing is up"]
    chosen = home.chosen()
    done = [f"stopped Prefect's {name}" for name in stack.stop(home)]
    docker = find_docker().path
    mine = ["--filter", f"label=model-deploy.node={chosen.node}"]
    agent = ["--filter", f"name=^{chosen.node}-agent$"]  # first, or it brings the others back
    for filters in (agent, mine):
        found = run([docker, "ps", "-aq", *filters], timeout=60).output.split()
        if found:
            run([docker, "rm", "--force", "--volumes", *found], timeout=120)
            done.append(f"removed {len(found)} containers")
    volumes = run([docker, "volume", "ls", "-q", *mine], timeout=60).output.split()
    volumes += [f"{chosen.node}-registry"] if data else []
    if volumes:
        run([docker, "volume", "rm", "--force", *volumes], timeout=120)
    run([docker, "network", "rm", chosen.node], timeout=60)
    shutil.rmtree(home.node_folder, ignore_errors=True)
    if data:
        shutil.rmtree(home.path, ignore_errors=True)
        done.append(f"deleted {home.path}")
    return done
