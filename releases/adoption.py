"""Moving a VM from Google's container startup agent to ours: what becomes of each thing it was told."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from releases.container_declaration import KEY, Declaration, Volume
from releases.problem import Refused

SECRET = re.compile(r"(?i)(secret|token|password|passwd|api_?key|credential)")


@dataclass(frozen=True)
class Choice:
    """One thing: what it was, what it becomes. `loses`: only on a person's word."""

    name: str
    was: str
    becomes: str
    loses: bool = False


def choices(declaration: Declaration, image: str, port: int, public_port: int) -> list[Choice]:
    """Everything the declaration says, in its order; nothing of it is passed over."""
    spec, container = declaration.spec, declaration.spec.container
    found = [Choice("image", container.image, image), _network(port, public_port)]
    if container.command:
        found.append(_lost("command", " ".join(container.command), "the image's own ENTRYPOINT"))
    if container.args:
        found.append(_lost("args", " ".join(container.args), "the image's own CMD"))
    found += [_variable(one.name) for one in container.env]
    found += [_volume(spec.volumes, one.name, one.mountPath) for one in container.volumeMounts]
    found.append(_restart(spec.restartPolicy))
    if container.securityContext.privileged:
        found.append(_lost("privileged", "yes", "no: its container has Docker's usual rights"))
    for name, used in (("stdin", container.stdin), ("tty", container.tty)):
        if used:
            found.append(_lost(name, "yes", "no: a service has no terminal"))
    found.append(Choice("logs", "500m x 3, and Cloud Logging", "10m x 5, exported to the bucket (run.logs)"))
    parts = [declaration, spec, container, container.securityContext, *spec.volumes]
    unknown = sorted({name for part in parts for name in part.unknown})
    return found + [_lost(name, "set", "nothing: no such thing is known here") for name in unknown]


def check(found: Collection[Choice], accepted: Collection[str]) -> None:
    """See that everything that is lost was accepted by name. Raises Refused."""
    lost = [one for one in found if one.loses and one.name not in accepted]
    strangers = sorted(set(accepted) - {one.name for one in found})
    if strangers:
        raise Refused(f"there is no `{strangers[0]}` to accept", expected=", ".join(o.name for o in found))
    if lost:
        raise Refused(
            f"{len(lost)} things cannot be carried over; nothing was touched",
            got="\n       ".join(f"{one.name}: {one.was} -> {one.becomes}" for one in lost),
            next_step="put them into the image, or say --accept NAME for each: "
            + " ".join(f"--accept {one.name}" for one in lost),
        )


def check_metadata(metadata: Mapping[str, str]) -> None:
    """See that the VM is one to be moved. Raises Refused."""
    if KEY not in metadata:
        raise Refused(f"the VM has no {KEY}: there is nothing to adopt", next_step="model-deploy provision")
    theirs = [name for name in ("user-data", "startup-script") if name in metadata]
    if theirs:
        raise Refused(
            f"the VM's metadata has a {theirs[0]} of its own",
            expected="none: the agent is started by user-data, and a startup script may start anything",
            next_step=f"move it elsewhere: gcloud compute instances remove-metadata VM --keys={theirs[0]}",
        )


def _lost(name: str, was: str, becomes: str) -> Choice:
    return Choice(name, was, becomes, loses=True)


def _network(port: int, public_port: int) -> Choice:
    return Choice(
        "network",
        "the host's: every port it listens on was open",
        f"port {port} of the container, at the edge's {public_port}; no other is open",
    )


def _variable(name: str) -> Choice:
    if SECRET.search(name):
        return _lost(
            f"env.{name}", "in plain metadata", "still in plain metadata: better a secret (run.secrets)"
        )
    return Choice(f"env.{name}", "set", "the same (run.env)")


def _volume(volumes: Collection[Volume], name: str, path: str) -> Choice:
    volume = next((one for one in volumes if one.name == name), None)
    if volume is None:
        return _lost(f"volume.{name}", f"{path}, of no volume", "nothing")
    if volume.emptyDir is not None:
        return _lost(f"volume.{name}", f"tmpfs at {path}", "the container's own /tmp and disk, gone with it")
    if volume.hostPath is not None:
        source = volume.hostPath.get("path", "")
        return _lost(
            f"volume.{name}", f"{source} of the VM at {path}", "nothing: a service keeps no files on a node"
        )
    disk = (volume.gcePersistentDisk or {}).get("pdName", "")
    return _lost(
        f"volume.{name}", f"disk {disk} at {path}", "nothing: the disk stays attached and is not mounted"
    )


def _restart(policy: str) -> Choice:
    if policy == "Always":
        return Choice("restart", policy, "always: the agent brings it back")
    return _lost("restart", policy, "always: the agent brings it back")
