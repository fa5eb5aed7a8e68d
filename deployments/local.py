"""The local environment as a whole: brought up, taken down."""

import os
import shutil
import time
from collections.abc import Callable

from blocks.command import run
from blocks.docker_client import find_docker
from deployments import stack
from deployments.machine.home import Home, Share
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
    """Everything that carries the label of one of our nodes, and our processes; returns what was done."""
    home = Home()
    if not (home.path / "machine.json").exists():
        return ["nothing is up"]
    done = [f"stopped Prefect's {name}" for name in stack.stop(home)]
    docker = find_docker().path
    for share in home.shares():
        removed = _take_down_node(docker, share)
        done += [f"removed {removed} containers of {share.node}"] if removed else []
    if data:
        run([docker, "volume", "rm", "--force", f"{home.chosen().node}-registry"], timeout=120)
        shutil.rmtree(home.path, ignore_errors=True)
        done.append(f"deleted {home.path}")
    return done


def _take_down_node(docker: str, share: Share) -> int:
    """Its containers, volumes, network and what was desired of it; how many containers there were."""
    mine = ["--filter", f"label=model-deploy.node={share.node}"]
    agent = ["--filter", f"name=^{share.node}-agent$"]  # first, or it brings the others back
    removed = 0
    for filters in (agent, mine):
        found = run([docker, "ps", "-aq", *filters], timeout=60).output.split()
        if found:
            run([docker, "rm", "--force", "--volumes", *found], timeout=120)
            removed += len(found)
    volumes = run([docker, "volume", "ls", "-q", *mine], timeout=60).output.split()
    if volumes:
        run([docker, "volume", "rm", "--force", *volumes], timeout=120)
    run([docker, "network", "rm", share.node], timeout=60)
    shutil.rmtree(share.path / "node", ignore_errors=True)
    return removed
