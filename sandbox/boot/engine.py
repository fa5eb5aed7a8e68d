"""The container engine that all VMs share: whatever a VM owns has a name that begins with the VM's."""

import ipaddress
import json
import subprocess
import time
from collections.abc import Callable

SECONDS = 120
ALL_SECONDS = 30.0


class EngineError(RuntimeError):
    """The engine did not do it."""


def gateway() -> str:
    """An address of this machine that containers on every network reach. Raises EngineError."""
    config = json.loads(docker("network", "inspect", "--format", "{{json .IPAM.Config}}", "bridge"))[0]
    subnet = ipaddress.ip_network(config["Subnet"])
    return str(config.get("Gateway") or subnet[1])


def kill(host: str) -> None:
    """As if the power had gone: nothing is told, nothing is waited for. Raises EngineError."""
    # What was killed last may have started another one before, so it is looked again.
    _until_none(lambda: _listed(host, "--filter", "status=running"), "kill")


def start_those_kept_up(host: str) -> None:
    """What the engine does when a machine boots: the restart policy says which containers."""
    stopped = _listed(host, "--filter", "status=exited")
    if not stopped:
        return
    form = "{{.Id}} {{.HostConfig.RestartPolicy.Name}}"
    policies = [line.split() for line in docker("inspect", "--format", form, *stopped).splitlines()]
    always = [words[0] for words in policies if words[-1] == "always"]
    if always:
        docker("start", *always)


def remove_all(host: str) -> None:
    """Containers, volumes, network. Raises EngineError."""
    _until_none(lambda: _listed(host), "rm", "--force", "--volumes")
    volumes = ("volume", "ls", "--quiet", "--filter", f"name=^{host}-")
    _until_none(lambda: docker(*volumes).split(), "volume", "rm", "--force")
    networks = ("network", "ls", "--quiet", "--filter", f"name=^{host}$")
    _until_none(lambda: docker(*networks).split(), "network", "rm")


def _until_none(look: Callable[[], list[str]], *command: str) -> None:
    """Again and again: what the engine itself is removing just now it refuses to touch."""
    deadline = time.monotonic() + ALL_SECONDS
    while found := look():
        argv = ["docker", *command, *found]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS, check=False)
        if done.returncode and time.monotonic() > deadline:
            raise EngineError(f"docker {' '.join(command)}: {done.stderr.strip()[-300:]}")


def _listed(host: str, *filters: str) -> list[str]:
    return docker("ps", "--all", "--quiet", "--filter", f"name=^{host}-", *filters).split()


def remove_containers(prefix: str) -> None:
    """Those whose names begin so, if there are any. Raises EngineError."""
    _until_none(
        lambda: docker("ps", "--all", "--quiet", "--filter", f"name=^{prefix}").split(), "rm", "--force"
    )


def docker(*words: str) -> str:
    """What the command prints. Raises EngineError."""
    done = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=SECONDS, check=False)
    if done.returncode:
        raise EngineError(f"docker {words[0]} {words[1]}: {done.stderr.strip()[-300:]}")
    return done.stdout
