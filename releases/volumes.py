"""What a container gets to keep files in: folders of the node, memory, persistent disks."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from releases.size import PATTERN, Size, in_bytes

MODEL_DIR = "/model"  # in the service's container: where the agent mounts a release's model

# Whoever has these has the node: the engine's socket and files, the agent's own, what root runs.
ENGINES = ("/run", "/var/run", "/var/lib/docker", "/var/lib/containerd", "/var/lib/model-deploy")
SYSTEMS = ("/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/root", "/sbin", "/sys", "/usr")


def _absolute(path: str) -> str:
    if not path.startswith("/") or path == "/" or ".." in path.split("/"):
        raise ValueError("an absolute path without `..`, and not / itself")
    if str(PurePosixPath(path)) != path or path.startswith("//"):
        raise ValueError(f"written as {PurePosixPath('/' + path.lstrip('/'))}")
    if ":" in path or not path.isprintable():
        raise ValueError("a path without colons and control characters")
    return path


def _size_or_true(given: object) -> object:
    """One message, not one for each kind that it could have been."""
    if given is None or given is True or (isinstance(given, str) and re.fullmatch(PATTERN, given)):
        return given
    raise ValueError("a size such as 64m, or true")


Path = Annotated[str, AfterValidator(_absolute)]


class Volume(BaseModel):
    """One folder in the container, from exactly one source."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"oneOf": [{"required": [one]} for one in ("host", "tmpfs", "disk")]},
    )

    path: Path = Field(description="In the container.")
    host: Path | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="A folder or file of the node; a folder is made if it is missing.",
    )
    tmpfs: Annotated[Size | Literal[True] | None, BeforeValidator(_size_or_true)] = Field(
        None,
        exclude_if=lambda value: value is None,
        description="In memory, gone with the container; how much at most, or true.",
    )
    disk: str | None = Field(
        None,
        pattern=r"^[a-z]([-a-z0-9]{0,70}[a-z0-9])?$",
        exclude_if=lambda value: value is None,
        description="A persistent disk's device name on the VM; it has an ext4 file system already.",
    )
    read_only: bool = Field(False, exclude_if=lambda value: not value)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [name for name in ("host", "tmpfs", "disk") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"exactly one of host, tmpfs and disk, not {' and '.join(given) or 'none'}")
        if self.tmpfs is not None and self.read_only:
            raise ValueError("a tmpfs begins empty: read_only makes no sense")
        return self

    @property
    def tmpfs_bytes(self) -> int | None:
        """None: the kernel's own limit, half of the memory."""
        return in_bytes(self.tmpfs) if isinstance(self.tmpfs, str) else None

    @property
    def gives_the_node_away(self) -> bool:
        """Whether the container could take over the node with it. Reading the system's files is harmless."""
        if self.host is None:
            return False
        if any(_overlap(self.host, one) for one in ENGINES):
            return True
        return not self.read_only and any(_overlap(self.host, one) for one in SYSTEMS)


def check(volumes: Sequence[Volume], *, privileged: bool) -> None:
    """See that they fit together. Raises ValueError."""
    paths = [one.path for one in volumes]
    twice = sorted({path for path in paths if paths.count(path) > 1})
    if twice:
        raise ValueError(f"two volumes at {twice[0]}")
    for one in volumes:
        if one.path == MODEL_DIR or one.path.startswith(f"{MODEL_DIR}/"):
            raise ValueError(f"{one.path} is where the release's model is: another path")
        if one.gives_the_node_away and not privileged:
            raise ValueError(
                f"{one.host} gives the node away: a folder under /home or /var/lib/NAME, or say so with "
                "run.privileged: true"
            )


def _overlap(path: str, other: str) -> bool:
    """Whether one is the other or in it."""
    return path == other or path.startswith(f"{other}/") or other.startswith(f"{path}/")
