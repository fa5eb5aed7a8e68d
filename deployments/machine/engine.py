"""The container engine: used as it is where one answers, installed where we may."""

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from blocks.command import TookTooLong, run
from blocks.docker_client import DockerClient, find_docker
from releases.problem import Failed, Unreachable

ASK_SECONDS = 60
INSTALL_SECONDS = 600
START_SECONDS = 180  # it starts containers that were left before it answers anybody
ANSWER_SECONDS = 20
DAEMON_LOG = Path("/var/log/dockerd.log")
SYSTEMD = Path("/run/systemd/system")
DAEMON_PID = Path("/var/run/docker.pid")


def ensure_engine() -> DockerClient:
    """Return a docker that works, got as root on Debian or Ubuntu. Raises Unreachable."""
    try:
        return find_docker()
    except Unreachable:
        # Where one is named, another on this machine is not wanted.
        if os.environ.get("DOCKER_HOST") or not may_install():
            raise
    if not shutil.which("dockerd") or not shutil.which("docker"):
        # Debian has the client apart since version 13, as a recommendation only.
        install("docker.io", "iptables", "ca-certificates", where_known=["docker-cli"])
    if not _daemon_answers():
        _start_daemon()
    try:
        return find_docker()
    except Unreachable:
        install("docker-buildx")  # newer distributions ship it apart
        return find_docker()


def may_install() -> bool:
    """Root on a machine with apt."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(*packages: str, where_known: Sequence[str] = ()) -> None:
    """Install Debian packages without a question. Raises Failed with apt's own words.

    `where_known`: only those of them that this distribution has.
    """
    _apt("apt-get", "update", "-qq")
    known = [one for one in where_known if run(["apt-cache", "show", one], timeout=ASK_SECONDS).code == 0]
    _apt("apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages, *known)


def _apt(*argv: str) -> None:
    finished = run(argv, timeout=INSTALL_SECONDS, env={"DEBIAN_FRONTEND": "noninteractive"})
    if finished.code != 0:
        raise Failed(f"`{' '.join(argv)}` failed", got=finished.tail)


def what_stays() -> list[str]:
    """Of the engine, when all else is gone: others may use it by now, so we neither end nor remove it."""
    if not shutil.which("dockerd"):
        return []
    packages = _installed("docker.io", "docker-cli", "docker-buildx")
    step = f"; next, where nobody else needs it: apt-get purge {' '.join(packages)}" if packages else ""
    said = [f"stays: the container engine{step}"]
    if DAEMON_LOG.exists():  # started by us
        said.append(f"stays: its daemon in the background; next: kill $(cat {DAEMON_PID}); rm {DAEMON_LOG}")
    return said


def _installed(*names: str) -> list[str]:
    """Those of these Debian packages that are here: `apt-get purge` stops at one it does not know."""
    if not shutil.which("dpkg-query"):
        return []
    asked = run(
        ["dpkg-query", "--show", "--showformat", "${db:Status-Status} ${Package}\\n", *names], timeout=30
    )
    return [line.split()[1] for line in asked.output.splitlines() if line.startswith("installed ")]


def _daemon_answers() -> bool:
    """False also while it takes calls and is silent: so does one that still starts old containers."""
    if not shutil.which("docker"):
        return False
    with suppress(TookTooLong):
        return run(["docker", "info"], timeout=ANSWER_SECONDS).code == 0
    return False


def _start_daemon() -> None:
    """Without systemd the daemon is started in the background, and outlives us."""
    log = "journalctl --unit docker" if SYSTEMD.exists() else f"tail {DAEMON_LOG}"
    if SYSTEMD.exists():
        run(["systemctl", "start", "docker"], timeout=START_SECONDS)
    else:
        with DAEMON_LOG.open("ab") as file:
            subprocess.Popen(
                ["dockerd"], stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
            )
    deadline = time.monotonic() + START_SECONDS
    while not _daemon_answers():
        if time.monotonic() > deadline:
            raise Unreachable(
                "the container engine was installed but does not start",
                expected=f"an answer within {START_SECONDS} s",
                next_step=log,
            )
        time.sleep(0.3)
