"""What is missing on this machine, and how to get it."""

import shutil
from dataclasses import dataclass

from blocks.docker_client import find_docker
from deployments.log_limit import log_limit
from deployments.machine import images
from deployments.machine.home import Home
from releases.problem import Problem

LEAST_FREE_GB = 5


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    what: str
    ok: bool
    detail: str


def examine() -> list[Finding]:
    """Look at everything a release needs."""
    home = Home()
    git = shutil.which("git")
    existing = next(folder for folder in (home.path, *home.path.parents) if folder.exists())
    free = shutil.disk_usage(existing).free / 2**30
    findings = [
        Finding("git", bool(git), git or "apt-get install git"),
        Finding(
            "disk", free > LEAST_FREE_GB, f"{free:.0f} GB free at {existing}; {LEAST_FREE_GB} are needed"
        ),
    ]
    try:
        docker = find_docker()
    except Problem as problem:
        return [*findings, Finding("container engine", ok=False, detail=str(problem))]
    findings.append(Finding("container engine", ok=True, detail=f"{docker.path}, BuildKit {docker.buildkit}"))
    findings.append(Finding("log limit", ok=True, detail=log_limit(docker)))
    for image in (images.PYTHON, images.EDGE, images.agent_image()):
        there = images.has(docker, image)
        findings.append(Finding(f"image {image}", there, "there" if there else "next: model-deploy up"))
    return findings
