"""The local environment as a whole: brought up, taken down."""

import os
import shutil
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

from blocks.command import run
from blocks.docker_client import DockerClient, find_docker
from blocks.pick_lists import offer
from deployments import stack
from deployments.github_commands import HOOK_PATH
from deployments.machine import engine
from deployments.machine.home import Home, Share
from deployments.machine.images import PULLED, ensure_flows, has, remove_made
from deployments.machine.prepare import prepare
from deployments.machine.registry import remove_registry
from deployments.processes import Process
from deployments.set_up import SetUp


def bring_up(
    set_up: SetUp,
    processes: Collection[Process],
    *,
    start: bool = True,
    in_containers: bool = True,
    environments: Path | None = None,
) -> str:
    """Engine, images, registry, Prefect's server, blocks, flows, processes; the UI's address. Raises Problem.

    Without any process there is just enough for releases from the command line. Where somebody else starts
    them (`start` is false), Prefect's server is waited for. `in_containers`: scheduled runs get one each.
    `environments`: the file that describes them, instead of the one that was applied last.
    """
    home = Home()
    prepare(home, set_up)
    set_up.step("Prefect server", lambda: _server(home, start=start))
    os.environ.update(stack.environment(home))
    set_up.step("environments", lambda: _environments(home, environments or home.environments_file))
    if processes and in_containers:
        set_up.step("image of scheduled runs", lambda: ensure_flows(find_docker()))
    if processes:
        set_up.step("pick lists", offer)
        set_up.step("flows", lambda: stack.register_flows(home, in_containers=in_containers))
    for process in processes if start else ():
        set_up.step(process, partial(_process, home, process))
    return stack.interface(home)


def _server(home: Home, *, start: bool) -> str:
    """Who runs it is remembered: while another's is away, no command is to start one in its place."""
    if start and not stack.answers(home):
        home.remember_server(elsewhere=False)
    interface = stack.ensure_server(home, start=start)
    if not start:
        home.remember_server(elsewhere=not stack.runs_here(home, Process.server))
    return interface


def _environments(home: Home, file: Path) -> str:
    from deployments.apply import apply  # noqa: PLC0415 - imports Prefect, which must know its server first

    return ", ".join(f"{change.environment} {change.done}" for change in apply(home, file))


def _process(home: Home, process: Process) -> str:
    stack.ensure_running(home, process)
    return SAID[process](home)


SAID: dict[Process, Callable[[Home], str]] = {
    Process.server: stack.interface,
    Process.worker: lambda _: "runs what is started in the UI",
    Process.scheduled: lambda _: "runs what is due",
    Process.receiver: lambda home: f"http://127.0.0.1:{home.chosen().receiver_port}{HOOK_PATH}",
}


def take_down(*, data: bool, keep_images: bool = False) -> list[str]:
    """Everything that carries the label of one of our nodes, and our processes; what was done, what stays.

    `data`: also what the next `up` would find again, images included unless another node needs them.
    """
    home = Home()
    if not (home.path / "machine.json").exists():
        return ["nothing is up"]
    done = [f"stopped Prefect's {name}" for name in stack.stop(home)]
    docker = find_docker()
    for share in home.shares():
        removed = _take_down_node(docker.path, share)
        done += [f"removed {removed} containers of {share.node}"] if removed else []
    registry = f"{home.chosen().node}-registry"
    if not data:
        kept = f"{home.path}, the volume {registry}, the images"
        return [*done, f"kept for the next time: {kept}; to remove them too: model-deploy down --data"]
    remove_registry(docker, home.chosen().node, home.chosen().registry_port)
    done += [f"removed the volume {registry} and its images", _delete(home.path)]
    return done if keep_images else [*done, *_leave_the_engine(docker)]


def _delete(folder: Path) -> str:
    """As much of it as this user may; what came of it."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        return f"stays: {folder}, with what could not be deleted; to remove it: sudo rm -r {folder}"
    return f"deleted {folder}"


def _leave_the_engine(docker: DockerClient) -> list[str]:
    """Remove the images that were made here; what was done, and what stays on purpose."""
    if run([docker.path, "ps", "-aq", "--filter", "label=model-deploy.node"], timeout=60).output.strip():
        return ["kept the images: another node on this engine needs them"]
    removed = remove_made(docker)
    pulled = " ".join(image for image in PULLED if has(docker, image))
    return [
        *([f"removed {', '.join(removed)}"] if removed else []),
        *([f"stays: images that were pulled; to remove them: docker image rm {pulled}"] if pulled else []),
        "stays: what builds have left; to remove it: docker image prune && docker builder prune",
        *engine.what_stays(),
    ]


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
