"""`gce-container-declaration`: what Google's container startup agent was told to run. Plain text in and out.

The fields are those of the agent's own source: https://github.com/GoogleCloudPlatform/konlet
(gce-containers-startup/types/api.go). Exactly one container; it ran on the host's network.
"""

from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from releases.node_boot import DECLARATION_KEY
from releases.problem import Failed
from releases.release import Release
from releases.spec import Resources
from releases.yaml_text import YamlError, read_yaml

KEY = DECLARATION_KEY
WARNING = (
    "Google's container startup agent is deprecated: from 2026-07-31 what relies on it or on the metadata "
    "key gce-container-declaration is out of service, and support ends on 2027-07-31. Each release restarts "
    "the VM, and nothing goes back by itself. Next: model-deploy adopt VM"
)


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)

    @property
    def unknown(self) -> list[str]:
        """Fields that the startup agent did not know either, or that we do not."""
        return sorted(self.model_extra or {})


class Variable(_Part):
    """One environment variable."""

    name: str
    value: str = ""


class Mount(_Part):
    """A volume in the container."""

    name: str
    mountPath: str  # noqa: N815 - the document's name
    readOnly: bool = False  # noqa: N815


class Security(_Part):
    """The container's rights."""

    privileged: bool = False


class Container(_Part):
    """The one container."""

    image: str
    name: str = ""
    command: list[str] = Field(default_factory=list)
    args: list[str] = Field(default_factory=list)
    env: list[Variable] = Field(default_factory=list)
    volumeMounts: list[Mount] = Field(default_factory=list)  # noqa: N815
    securityContext: Security = Security()  # noqa: N815
    stdin: bool = False
    tty: bool = False


class HostPath(_Part):
    """A folder of the VM."""

    path: str = ""


class EmptyDir(_Part):
    """Memory."""

    medium: str = ""


class PersistentDisk(_Part):
    """By the name of the device, whatever the field is called."""

    pdName: str = ""  # noqa: N815
    fsType: str = "ext4"  # noqa: N815
    partition: int = 0
    readOnly: bool = False  # noqa: N815


class Volume(_Part):
    """Where a volume comes from: one of the three."""

    name: str
    hostPath: HostPath | None = None  # noqa: N815
    emptyDir: EmptyDir | None = None  # noqa: N815
    gcePersistentDisk: PersistentDisk | None = None  # noqa: N815

    @property
    def unknown(self) -> list[str]:
        """Its source's as well."""
        sources = [self.hostPath, self.emptyDir, self.gcePersistentDisk]
        return sorted({*super().unknown, *(name for one in sources if one for name in one.unknown)})


class Spec(_Part):
    """What is to run."""

    containers: list[Container] = Field(min_length=1, max_length=1)
    volumes: list[Volume] = Field(default_factory=list)
    restartPolicy: Literal["Always", "OnFailure", "Never"] = "Always"  # noqa: N815

    @property
    def container(self) -> Container:
        """The one."""
        return self.containers[0]


class Declaration(_Part):
    """The whole document."""

    spec: Spec


def parse(text: str) -> Declaration:
    """Read a declaration. Raises Failed."""
    try:
        return Declaration.model_validate(_without_nulls(read_yaml(text) or {}))
    except (YamlError, ValidationError) as error:
        said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise Failed("the container declaration cannot be read", f"metadata key {KEY}", got=said) from error


def with_image(text: str, image: str, name: str, env: dict[str, str]) -> str:
    """Another image under another name, and these variables set; everything else stays. Raises Failed."""
    parse(text)
    whole = read_yaml(text)
    container = whole["spec"]["containers"][0]
    container |= {"image": image, "name": name}
    kept = [one for one in container.get("env") or [] if one["name"] not in env]
    variables = [*kept, *({"name": name, "value": value} for name, value in env.items())]
    if variables:
        container["env"] = variables
    return yaml.safe_dump(whole, sort_keys=False)


def cannot_carry(release: Release) -> list[str]:
    """What the release asks for and would run without, by the names of model-deploy.yaml."""
    run = release.run
    asked = {
        "the model": bool(release.model_sha256),
        "run.secrets": bool(run.secrets),
        "run.entrypoint": bool(run.entrypoint),
        "run.command": bool(run.command),
        "run.volumes": bool(run.volumes),
        "run.privileged": run.privileged,
        "run.resources": run.resources != Resources(),
    }
    return [name for name, said in asked.items() if said]


def _without_nulls(found: Any) -> Any:
    """`command:` with nothing after it is as good as none."""
    if isinstance(found, dict):
        return {key: _without_nulls(value) for key, value in found.items() if value is not None}
    return [_without_nulls(one) for one in found] if isinstance(found, list) else found
