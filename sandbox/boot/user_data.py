"""User-data read: the part of cloud-init that a VM of ours understands. Of the rest it says so."""

import shlex
from dataclasses import dataclass

import yaml

NOTHING = "#cloud-config\n"
KNOWN = {"write_files", "runcmd"}
KNOWN_OF_A_FILE = {"path", "content", "owner", "permissions"}


class NotUnderstood(ValueError):  # noqa: N818 - reads as what is the matter
    """The real machine may know what to do; this one does not."""


@dataclass(frozen=True)
class UserData:
    """What to write, then what to run."""

    files: dict[str, str]
    commands: list[list[str]]


def read(text: str) -> UserData:
    """Read a cloud-config. Raises NotUnderstood."""
    if not text.startswith(NOTHING):
        raise NotUnderstood("the sandbox boots only user-data that begins with #cloud-config")
    found = yaml.safe_load(text) or {}
    _only(KNOWN, set(found), "user-data")
    files = {}
    for file in found.get("write_files", []):
        _only(KNOWN_OF_A_FILE, set(file), f"the file {file['path']}")
        files[file["path"]] = file["content"]
    commands = [shlex.split(one) if isinstance(one, str) else list(one) for one in found.get("runcmd", [])]
    return UserData(files, commands)


def _only(known: set[str], given: set[str], where: str) -> None:
    if unknown := given - known:
        raise NotUnderstood(f"the sandbox does not implement {min(unknown)} of {where}")
