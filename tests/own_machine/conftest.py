"""A machine of one's own (script/in-a-machine-of-its-own): its engine may be killed, its disk filled."""

import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import docker
import pytest

from bench.node import LocalNode
from bench.sample import SAMPLE
from blocks.targets.local import LocalTarget
from deployments.machine.home import Home, free_ports
from deployments.machine.images import agent_image
from tests.controllers import wait_until

FOLDER = os.environ.get("MODEL_DEPLOY_OWN_MACHINE")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.own_machine)
            if not FOLDER:
                item.add_marker(
                    pytest.mark.skip(reason="script/in-a-machine-of-its-own pytest -m own_machine")
                )


@dataclass
class Machine:
    folder: Path
    daemon: subprocess.Popen | None = field(default=None)

    def power_on(self, *options: str) -> None:
        argv = ["dockerd", *options, "--data-root", str(self.folder / "docker"), "--exec-root", "/run/docker"]
        argv += ["--pidfile", "/run/docker.pid"]
        Path("/run/docker.pid").unlink(missing_ok=True)
        with (self.folder / "dockerd.log").open("ab") as log:
            self.daemon = subprocess.Popen(argv, stdout=log, stderr=log)
        wait_until(answers, 60)

    def kill_engine(self) -> None:
        """SIGKILL to the daemon alone: what it started goes on for now."""
        assert self.daemon is not None
        self.daemon.kill()
        self.daemon.wait()

    def power_off(self) -> None:
        """SIGKILL to everything but ourselves: this process namespace is the machine."""
        self.kill_engine()
        spared = {1, os.getpid(), *ancestors()}
        for pid in [int(one.name) for one in Path("/proc").iterdir() if one.name.isdigit()]:
            if pid not in spared and "pytest" not in command_of(pid):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        for mount in reversed(Path("/proc/mounts").read_text().splitlines()):
            where = mount.split()[1]
            if where.startswith(("/run/docker", str(self.folder / "docker") + "/")):
                subprocess.run(["umount", "-l", where], check=False)
        shutil.rmtree("/run/docker", ignore_errors=True)

    def push(self, registry: str, extra_mb: int = 0) -> str:
        """The sample service, made larger by so many megabytes that do not compress; repository@digest."""
        context = self.folder / "elsewhere" / "context"
        shutil.rmtree(context, ignore_errors=True)
        shutil.copytree(SAMPLE, context)
        (context / "weights").write_bytes(os.urandom(extra_mb << 20))
        with (context / "Dockerfile").open("a") as file:
            file.write("COPY weights /weights\n")
        tag = f"{registry}/sample:{secrets.token_hex(4)}"
        shell("docker", "build", "-q", "-t", tag, str(context))
        shell("docker", "push", "-q", tag)
        digest = shell("docker", "image", "inspect", "--format", "{{index .RepoDigests 0}}", tag).strip()
        shell("docker", "image", "rm", tag)
        return digest

    def free_mb(self) -> int:
        return shutil.disk_usage(self.folder / "docker").free >> 20


def answers() -> bool:
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


def shell(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def ancestors() -> set[int]:
    found, pid = set(), os.getpid()
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
        found.add(pid)
    return found


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    made = Machine(Path(FOLDER or ""))
    made.power_on()
    shell("docker", "load", "-q", "-i", str(made.folder / "images.tar"))
    yield made
    made.power_off()


@pytest.fixture(scope="session")
def registry_outside(machine: Machine) -> str:
    """A registry whose data do not lie on the disk that gets full."""
    port = free_ports(1)[0]
    data = machine.folder / "elsewhere" / "registry"
    data.mkdir(parents=True, exist_ok=True)
    shell(
        *("docker", "run", "-d", "--restart", "always", "-v", f"{data}:/var/lib/registry"),
        *("-p", f"127.0.0.1:{port}:5000", "model-deploy/registry:local"),
    )
    return f"localhost:{port}"


@pytest.fixture
def own_node(machine: Machine, tmp_path: Path) -> Iterator[LocalNode]:
    if machine.daemon is None or machine.daemon.poll() is not None:
        machine.power_on()
    home = Home(tmp_path / "home")
    home.prepare()
    node = f"md-test-{secrets.token_hex(3)}"
    target = LocalTarget(home=home.path, node=node, ports=free_ports(3), agent_image=agent_image())
    target.ensure_node()
    yield LocalNode(target, "")
    target.remove_node()
    docker.from_env().images.prune()
