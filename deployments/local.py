"""The local environment as a whole: brought up, taken down."""

import os
import shutil
from collections.abc import Callable, Collection
from functools import partial

from blocks.command import run
from blocks.docker_client import find_docker
from deployments import stack
from deployments.github_commands import HOOK_PATH
from deployments.machine.home import Home
from deployments.machine.images import ensure_flows
from deployments.machine.prepare import prepare
from deployments.pick_lists import offer
from deployments.processes import Process
from deployments.set_up import SetUp


def bring_up(
    set_up: SetUp, processes: Collection[Process], *, start: bool = True, in_containers: bool = True
) -> str:
    """Engine, images, registry, Prefect's server, blocks, flows, processes; the UI's address. Raises Problem.

    Without any process there is just enough for releases from the command line. Where somebody else starts
    them (`start` is false), Prefect's server is waited for. `in_containers`: scheduled runs get one each.
    """
    home = Home()
    prepare(home, set_up)
    set_up.step("Prefect server", lambda: stack.ensure_server(home, start=start))
    os.environ.update(stack.environment(home))
    set_up.step("environments", lambda: _environments(home))
    if processes and in_containers:
        set_up.step("image of scheduled runs", lambda: ensure_flows(find_docker()))
    if processes:
        set_up.step("flows", lambda: stack.register_flows(home, in_containers=in_containers))
        set_up.step("pick lists", offer)
    for process in processes if start else ():
        set_up.step(process, partial(_process, home, process))
    return stack.interface(home)


def _environments(home: Home) -> str:
    from deployments.apply import apply  # noqa: PLC0415 - imports Prefect, which must know its server first

    return ", ".join(f"{change.environment} {change.done}" for change in apply(home))


def _process(home: Home, process: Process) -> str:
    stack.ensure_running(home, process)
    return SAID[process](home)


SAID: dict[Process, Callable[[Home], str]] = {
    Process.server: stack.interface,
    Process.worker: lambda _: "runs what is started in the UI",
    Process.scheduled: lambda _: "runs what is due",
    Process.receiver: lambda home: f"http://127.0.0.1:{home.chosen().receiver_port}{HOOK_PATH}",
}


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
