"""Google's container startup agent (konlet), as far as it is needed to measure what it runs.

Once per boot it runs the one container that `gce-container-declaration` names; fields and defaults are those
of https://github.com/GoogleCloudPlatform/konlet. There every VM has a host network of its own; here the ports
that the image exposes are published on the VM's address.
"""

import json
from typing import Any

import yaml

from sandbox.boot import engine
from sandbox.boot.user_data import NotUnderstood

KEY = "gce-container-declaration"
POLICIES = {"Always": "always", "OnFailure": "on-failure", "Never": "no"}
LOG_OPTIONS = ("--log-opt", "max-size=500m", "--log-opt", "max-file=3")


def run(host: str, address: str, declaration: str) -> None:
    """Take away what the last boot ran, pull, and run. Raises NotUnderstood, EngineError."""
    spec = yaml.safe_load(declaration)["spec"]
    (container,) = spec["containers"]
    engine.docker("pull", "--quiet", container["image"])
    exposed = json.loads(
        engine.docker("image", "inspect", "--format", "{{json .Config.ExposedPorts}}", container["image"])
    )
    engine.remove_container(f"{host}-klt")
    engine.docker(*run_command(host, address, spec, sorted(exposed or {})))


def run_command(host: str, address: str, spec: dict[str, Any], exposed: list[str]) -> list[str]:
    """The arguments of `docker`. Raises NotUnderstood for volumes other than emptyDir."""
    (container,) = spec["containers"]
    command, args = container.get("command") or [], container.get("args") or []
    ports = [port.partition("/")[0] for port in exposed]
    privileged = (container.get("securityContext") or {}).get("privileged")
    return [
        *("run", "--detach", "--name", f"{host}-klt", "--hostname", host, *LOG_OPTIONS),
        *("--restart", POLICIES[spec.get("restartPolicy") or "Always"]),
        *(part for port in ports for part in ("--publish", f"{address}:{port}:{port}")),
        *(part for one in container.get("env") or [] for part in ("--env", f"{one['name']}={one['value']}")),
        *(part for path in _tmpfs(spec, container) for part in ("--tmpfs", path)),
        *(["--privileged"] if privileged else []),
        *(["--entrypoint", command[0]] if command else []),
        container["image"],
        *command[1:],
        *args,
    ]


def _tmpfs(spec: dict[str, Any], container: dict[str, Any]) -> list[str]:
    empty = {volume["name"] for volume in spec.get("volumes") or [] if "emptyDir" in volume}
    mounts = container.get("volumeMounts") or []
    for mount in mounts:
        if mount["name"] not in empty:
            raise NotUnderstood(f"the sandbox does not implement the volume {mount['name']}: only emptyDir")
    return [mount["mountPath"] for mount in mounts]
