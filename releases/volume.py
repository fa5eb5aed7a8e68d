"""What a container gets of the node's files: a folder, memory, or a persistent disk."""

import posixpath
import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

MODEL_DIR = "/model"  # in the service's container
# With one of these a container is as good as root on the node, or takes what is another's.
_HANDED_OUT = (
    *("/run", "/var/run", "/dev", "/proc", "/root"),
    *("/var/lib/docker", "/var/lib/containerd", "/var/lib/model-deploy"),
)
_HANDED_OUT_TO_WRITE = ("/etc", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/boot", "/sys", "/var/lib/cloud")


def _absolute(path: str) -> str:
    if not path.startswith("/") or ".." in path.split("/"):
        raise ValueError("an absolute path without `..`")
    return posixpath.normpath("/" + path.lstrip("/"))


def _memory(most: Any) -> Any:
    if most is None or most is True or (isinstance(most, str) and re.fullmatch(r"[1-9][0-9]*[kmg]", most)):
        return most
    raise ValueError("true, or the most it may hold, such as 64m")


Path = Annotated[str, AfterValidator(_absolute)]
Memory = Annotated[Literal[True] | str | None, BeforeValidator(_memory)]


class Volume(BaseModel):
    """One of the container's folders, with exactly one source."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path = Field(description="In the container.")
    host: Path | None = Field(None, description="A folder of the node; it must be there.")
    tmpfs: Memory = Field(
        None, description="Memory: its most, such as 64m, or true. Gone with the container."
    )
    disk: str | None = Field(
        None,
        pattern=r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$",
        description="A Compute Engine disk by its device name, with ext4 on it; it is never formatted.",
    )
    read_only: bool = False

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        said = [name for name in ("host", "tmpfs", "disk") if getattr(self, name) is not None]
        if len(said) != 1:
            raise ValueError(f"exactly one of host, tmpfs, disk; here: {', '.join(said) or 'none'}")
        if self.tmpfs is not None and self.read_only:
            raise ValueError("memory that is empty and read_only is of no use")
        if self.path == "/" or _under(self.path, MODEL_DIR):
            raise ValueError(
                f"{self.path} is not free in the container: / is the image's, {MODEL_DIR} the model's"
            )
        return self

    @property
    def hands_out(self) -> str:
        """What of the node it gives away, which only a privileged container may have; empty: nothing."""
        if self.host is None:
            return ""
        if self.host == "/home" or ".ssh" in self.host.split("/"):
            return self.host
        named = _HANDED_OUT if self.read_only else (*_HANDED_OUT, *_HANDED_OUT_TO_WRITE)
        return next((one for one in named if _under(self.host, one) or _under(one, self.host)), "")


def check_volumes(volumes: tuple[Volume, ...], *, privileged: bool) -> None:
    """See that they fit together. Raises ValueError."""
    paths = [one.path for one in volumes]
    twice = next((path for path in paths if paths.count(path) > 1), "")
    if twice:
        raise ValueError(f"two volumes are at {twice}")
    for one in volumes:
        if one.hands_out and not privileged:
            raise ValueError(
                f"{one.host} of the node hands out the node ({one.hands_out}) to whoever has "
                "the container; if that is meant, say so with run.privileged: true"
            )


def _under(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
