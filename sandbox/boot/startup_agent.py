"""Google's container startup agent (konlet), as far as it is needed to measure and to replace what it runs.

Once per boot it runs the one container that `gce-container-declaration` names, as `klt-NAME-xxxx`, with
Docker's own restart policy; fields and defaults are those of https://github.com/GoogleCloudPlatform/konlet.
There every VM has a host network of its own; here the ports that the image exposes are published on the
VM's address.
"""

import json
import secrets
from typing import Any

import yaml

from sandbox.boot import engine
from sandbox.boot.user_data import NotUnderstood

KEY = "gce-container-declaration"
POLICIES = {"Always": "always", "OnFailure": "on-failure", "Never": "no"}
LOG_OPTIONS = ("--log-opt", "max-size=500m", "--log-opt", "max-file=3")


def prefix(host: str) -> str:
    """What its containers' names begin with: `klt-` on a VM with an engine of its own."""
    return f"{host}-klt-"


def run(host: str, address: str, declaration: str) -> None:
    """Take away what the last boot ran, pull, and run. Raises NotUnderstood, EngineError."""
    spec = yaml.safe_load(declaration)["spec"]
    (container,) = spec["containers"]
    engine.docker("pull", "--quiet", container["image"])
    exposed = json.loads(
        engine.docker("image", "inspect", "--format", "{{json .Config.ExposedPorts}}", container["image"])
    )
    engine.remove_containers(prefix(host))
    engine.docker(*run_command(host, address, spec, sorted(exposed or {})))


def run_command(host: str, address: str, spec: dict[str, Any], exposed: list[str]) -> list[str]:
    """The arguments of `docker`. Raises NotUnderstood for a persistent disk."""
    (container,) = spec["containers"]
    command, args = container.get("command") or [], container.get("args") or []
    ports = [port.partition("/")[0] for port in exposed]
    privileged = (container.get("securityContext") or {}).get("privileged")
    name = f"{prefix(host)}{container.get('name') or ''}-{secrets.token_hex(2)}"
    return [
        *("run", "--detach", "--name", name, "--hostname", host, *LOG_OPTIONS),
        *("--restart", POLICIES[spec.get("restartPolicy") or "Always"]),
        *(part for port in ports for part in ("--publish", f"{address}:{port}:{port}")),
        *(part for one in container.get("env") or [] for part in ("--env", f"{one['name']}={one['value']}")),
        *(part for mount in container.get("volumeMounts") or [] for part in _volume(spec, mount)),
        *(["--privileged"] if privileged else []),
        *(["--entrypoint", command[0]] if command else []),
        container["image"],
        *command[1:],
        *args,
    ]


def _volume(spec: dict[str, Any], mount: dict[str, Any]) -> tuple[str, str]:
    volume = next(one for one in spec.get("volumes") or [] if one["name"] == mount["name"])
    path = mount["mountPath"]
    if "emptyDir" in volume:
        return "--tmpfs", path
    if "hostPath" in volume:
        return "--volume", f"{volume['hostPath']['path']}:{path}:{'ro' if mount.get('readOnly') else 'rw'}"
    raise NotUnderstood(f"the sandbox does not implement the volume {mount['name']}: no persistent disks")
