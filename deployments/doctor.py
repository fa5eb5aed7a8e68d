"""What is missing on this machine, and how to get it."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from blocks.command import run
from blocks.docker_client import DockerClient, find_docker
from deployments import stack
from deployments.log_limit import log_limit
from deployments.machine import images
from deployments.machine.home import Home
from deployments.machine.registry import unreachable
from releases.problem import Problem

LEAST_FREE_GB = 5
SECONDS = 15
UP = "next: model-deploy up"


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    what: str
    ok: bool
    detail: str


def examine() -> list[Finding]:
    """Look at everything a release needs."""
    home, git = Home(), shutil.which("git")
    return [
        Finding("git", bool(git), git or "next: apt-get install git"),
        _disk("disk", home.path),
        *_engine(),
        *_running(home),
    ]


def _disk(what: str, wanted: Path) -> Finding:
    folder = next(one for one in (wanted, *wanted.parents) if one.exists())
    free = shutil.disk_usage(folder).free / 2**30
    said = f"{free:.0f} GB free at {folder}; {LEAST_FREE_GB} are needed"
    return Finding(what, free > LEAST_FREE_GB, said)


def _engine() -> list[Finding]:
    """The engine, where it puts images, and the images that every release needs."""
    try:
        docker = find_docker()
    except Problem as problem:
        return [Finding("container engine", ok=False, detail=str(problem))]
    findings = [
        Finding("container engine", ok=True, detail=f"{docker.path}, BuildKit {docker.buildkit}"),
        *_disk_of_images(docker),
        Finding("log limit", ok=True, detail=log_limit(docker)),
    ]
    for image in (images.PYTHON, images.EDGE, images.agent_image()):
        there = images.has(docker, image)
        findings.append(Finding(f"image {image}", there, "there" if there else UP))
    return findings


def _disk_of_images(docker: DockerClient) -> list[Finding]:
    """None where the engine is on another machine, such as Docker Desktop's."""
    root = run([docker.path, "info", "--format", "{{.DockerRootDir}}"], timeout=SECONDS).output.strip()
    if not root or not Path(root).exists():
        return []
    found = _disk("disk of images", Path(root))
    return [found if found.ok else Finding(found.what, ok=False, detail=f"{found.detail}; {PRUNE}")]


PRUNE = "next: docker image prune && docker builder prune"


def _running(home: Home) -> list[Finding]:
    """What `up` starts; a machine on which it never ran is told to do that."""
    if not (home.path / "machine.json").exists():
        return [Finding("set up", ok=False, detail=UP)]
    try:
        port = home.chosen().registry_port
        why = unreachable(port)
        found = [Finding("registry", not why, f"localhost:{port}" + (f": {why}; {UP}" if why else ""))]
        url = stack.api_url(home)
        if not stack.answers(home):
            said = f"{url} does not answer; next: {stack.way_back(home)}"
            return [*found, Finding("Prefect's server", ok=False, detail=said)]
        found.append(Finding("Prefect's server", ok=True, detail=url))
        return [*found, *_workers(home)]
    except (Problem, OSError) as error:
        return [Finding("Prefect's server", ok=False, detail=str(error))]


def _workers(home: Home) -> list[Finding]:
    pools = stack.workers(home)
    if not pools:
        return [
            Finding("workers", ok=True, detail="none set up: releases run in the command that starts them")
        ]
    return [
        Finding(f"worker of {name}", works, "runs" if works else f"none looks for work; {UP}")
        for name, works in pools.items()
    ]
