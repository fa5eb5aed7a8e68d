"""What a container declaration says, in the words of `run:` of a service's model-deploy.yaml."""

from collections.abc import Collection
from dataclasses import dataclass

import yaml
from pydantic import ValidationError

from releases.container_declaration import Declaration, Mount
from releases.container_declaration import Volume as Source
from releases.spec import Run
from releases.volume import Volume


@dataclass(frozen=True)
class Carried:
    """A mount of the declaration and the volume that it becomes; none: why not."""

    name: str
    was: str
    volume: Volume | None
    why_not: str = ""


def adopted_run(declaration: Declaration, port: int, public_port: int) -> Run:
    """All that can be carried over."""
    container = declaration.spec.container
    return Run(
        port=port,
        public_port=public_port,
        env={one.name: one.value for one in container.env},
        entrypoint=tuple(container.command),
        command=tuple(container.args),
        volumes=tuple(one.volume for one in carried(declaration) if one.volume is not None),
        privileged=container.securityContext.privileged,
    )


def as_yaml(run: Run, hidden: Collection[str] = ()) -> str:
    """The part of model-deploy.yaml that gives the same, without the values of these variables."""
    said = run.model_dump(mode="json", exclude_defaults=True)
    env = {name: value for name, value in run.env.items() if name not in hidden}
    said = {key: value for key, value in {**said, "env": env}.items() if value}
    notes = [f"  # {name} is left out: make it a secret (run.secrets), or add it to env\n" for name in hidden]
    return yaml.safe_dump({"run": said}, sort_keys=False) + "".join(notes)


def carried(declaration: Declaration) -> list[Carried]:
    """Every mount, in the declaration's order."""
    privileged = declaration.spec.container.securityContext.privileged
    found: list[Carried] = []
    for mount in declaration.spec.container.volumeMounts:
        source = next((one for one in declaration.spec.volumes if one.name == mount.name), None)
        one = _carried(mount, source, privileged=privileged)
        if one.volume and any(other.volume and other.volume.path == one.volume.path for other in found):
            one = Carried(one.name, one.was, None, "two volumes are at the same path")
        found.append(one)
    return found


def _carried(mount: Mount, source: Source | None, *, privileged: bool) -> Carried:
    if source is None:
        return Carried(mount.name, f"{mount.mountPath}, of no volume", None, "there is no such volume")
    was, said, why_not = _source(source)
    was = f"{was} at {mount.mountPath}" + (", read-only" if mount.readOnly else "")
    if why_not:
        return Carried(mount.name, was, None, why_not)
    read_only = "tmpfs" not in said and (mount.readOnly or bool(said.pop("read_only", False)))
    try:
        volume = Volume.model_validate({"path": mount.mountPath, **said, "read_only": read_only})
    except ValidationError as error:
        return Carried(mount.name, was, None, error.errors()[0]["msg"].removeprefix("Value error, "))
    if volume.hands_out and not privileged:
        return Carried(
            mount.name, was, None, f"it hands out the node ({volume.hands_out}): run.privileged says so"
        )
    return Carried(mount.name, was, volume)


def _source(source: Source) -> tuple[str, dict[str, object], str]:
    """What it was, what it is as a volume, why it cannot be one."""
    if source.emptyDir is not None:
        return "tmpfs", {"tmpfs": True}, ""
    if source.hostPath is not None:
        host = str(source.hostPath.get("path", ""))
        return f"{host} of the VM", {"host": host}, ""
    disk = source.gcePersistentDisk or {}
    name, partition = str(disk.get("pdName", "")), disk.get("partition") or 0
    if partition:
        name = f"{name}-part{partition}"
    system = str(disk.get("fsType") or "ext4")
    why_not = "" if system == "ext4" else f"{system} is not mounted here, only ext4"
    return f"disk {name}", {"disk": name, "read_only": bool(disk.get("readOnly"))}, why_not
