"""What a container declaration says, as the `run:` part of a `model-deploy.yaml`."""

import re
from dataclasses import dataclass

import yaml
from pydantic import ValidationError

from releases import container_declaration as declared
from releases.container_declaration import Declaration, Mount, Spec
from releases.credentials import credential_in
from releases.problem import plainly
from releases.spec import Run
from releases.volumes import Volume, check

SECRET = re.compile(r"(?i)(secret|token|password|passwd|api_?key|credential)")


@dataclass(frozen=True)
class Carried:
    """One volume of the old container. No `volume`: it cannot be carried over, and `why`."""

    mount: Mount
    was: str
    volume: Volume | None
    why: str = ""


def is_secret(variable: str, value: str = "") -> bool:
    """Whether it sounds as if its value were one, or the value has the form of one."""
    return bool(SECRET.search(variable) or credential_in(value))


def tells_a_secret(words: list[str]) -> bool:
    """Whether arguments sound as if one had a secret in it; a model's tokens and its tokenizer are none."""
    harmless = r"(?i)tokens|tokeni[sz]\w*"
    return any(is_secret(re.sub(harmless, "", word).replace("-", "_"), word) for word in words)


def adopted_run(declaration: Declaration, port: int, public_port: int) -> Run:
    """The same container, as far as it can be."""
    spec, container = declaration.spec, declaration.spec.container
    return Run(
        port=port,
        public_port=public_port,
        entrypoint=container.command,
        command=container.args,
        privileged=container.securityContext.privileged,
        volumes=[one.volume for one in carried_volumes(spec) if one.volume is not None],
        env={one.name: one.value for one in container.env},
    )


def as_yaml(service: str, run: Run) -> str:
    """What to write into the service's own file, so that the next release keeps it; no secret is shown."""
    said = run.model_dump(mode="json", exclude_defaults=True)
    hidden = [name for name, value in said.get("env", {}).items() if is_secret(name, value)]
    env = {name: value for name, value in said.pop("env", {}).items() if name not in hidden}
    unsaid = [name for name in ("entrypoint", "command") if tells_a_secret(said.get(name, []))]
    said = {name: value for name, value in said.items() if name not in unsaid}
    hidden += [f"run.{name}" for name in unsaid]
    text = yaml.safe_dump(
        {"name": service, "run": {**said, **({"env": env} if env else {})}}, sort_keys=False
    )
    return text + "".join(
        f"  # {name} is not shown: make it a secret of the environment (run.secrets)\n" for name in hidden
    )


def carried_volumes(spec: Spec) -> list[Carried]:
    """What becomes of each mount, in their order."""
    found: list[Carried] = []
    for mount in spec.container.volumeMounts:
        source = next((one for one in spec.volumes if one.name == mount.name), None)
        was, volume, why = _volume(mount, source)
        if volume is not None:
            had = [one.volume for one in found if one.volume is not None]
            try:
                check([*had, volume], privileged=spec.container.securityContext.privileged)
            except ValueError as error:
                volume, why = None, str(error)
        found.append(Carried(mount, was, volume, why))
    return found


def _volume(mount: Mount, source: declared.Volume | None) -> tuple[str, Volume | None, str]:
    """What it was, what it becomes, or why nothing."""
    path = mount.mountPath.rstrip("/") or "/"
    given: dict[str, object] = {"path": path, "read_only": mount.readOnly}
    if source is not None and source.hostPath is not None:
        host = source.hostPath.path
        return _made(f"{host} of the VM at {path}", given | {"host": host.rstrip("/") or "/"})
    if source is not None and source.emptyDir is not None:
        return _made(f"tmpfs at {path}", given | {"tmpfs": True})
    if source is not None and source.gcePersistentDisk is not None:
        disk = source.gcePersistentDisk
        was = f"disk {disk.pdName} at {path}"
        if disk.fsType != "ext4":
            return was, None, f"{disk.fsType} is not mounted here, only ext4"
        name = f"{disk.pdName}-part{disk.partition}" if disk.partition else disk.pdName
        return _made(was, given | {"disk": name, "read_only": mount.readOnly or disk.readOnly})
    return f"{path}, of no volume", None, "there is no such volume"


def _made(was: str, given: dict[str, object]) -> tuple[str, Volume | None, str]:
    try:
        return was, Volume.model_validate(given), ""
    except ValidationError as error:
        return was, None, plainly(error.errors()[0]["msg"])
