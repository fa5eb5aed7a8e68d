"""Versions as tags: which is the newest, and which comes next after these commits."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

# Who says which version a release is.
Releasing = Literal["by hand", "auto"]
TAGS = "v*"
FIRST = "v0.1.0"
LONGEST_TAG = 128  # an image's
# With a service's name before it where one repository has several: `iris-v1.2.3`, `iris/v1.2.3`.
_VERSION = re.compile(r"(?:[\w.-]+[-/@])?v(0|[1-9]\d*)(?:\.(0|[1-9]\d*))?(?:\.(0|[1-9]\d*))?")
# Conventional Commits 1.0.0: `type(scope)!: subject`, and a footer for what breaks.
_CONVENTIONAL = re.compile(r"^(?P<type>[a-z]+)(\([^)]*\))?(?P<breaks>!)?: ", re.IGNORECASE)
_BREAKS = re.compile(r"^BREAKING[ -]CHANGE: ", re.MULTILINE)


@dataclass(frozen=True, order=True)
class Version:
    """`v1.2.3`; `v1` and `v1.2` are read as well."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"v{self.major}.{self.minor}.{self.patch}"

    def after(self, messages: Sequence[str]) -> "Version":
        """The next one, from the commits' messages: before v1 what breaks is a minor step."""
        if any(_breaks(message) for message in messages):
            return Version(self.major + 1, 0, 0) if self.major else Version(0, self.minor + 1, 0)
        if any(_kind(message) == "feat" for message in messages):
            return Version(self.major, self.minor + 1, 0)
        return Version(self.major, self.minor, self.patch + 1)


def read_version(tag: str) -> Version | None:
    """The version that a tag names; None for a pre-release and for anything else."""
    found = _VERSION.fullmatch(tag)
    return Version(*(int(part or 0) for part in found.groups())) if found else None


def image_tag(version: str) -> str:
    """As registries take it for a tag: a version in git may be `iris/v1.2.3`."""
    return re.sub(r"[^\w.-]", "-", version, flags=re.ASCII).lstrip(".-")[:LONGEST_TAG]


def newest(tags: Iterable[str], pattern: str = TAGS) -> str:
    """The highest version among the tags that fit; empty where there is none."""
    fitting = {tag: read_version(tag) for tag in tags if fnmatchcase(tag, pattern)}
    versions = [(version, tag) for tag, version in fitting.items() if version]
    return max(versions)[1] if versions else ""


def newest_like(tag: str, tags: Iterable[str]) -> str:
    """The highest version among the tags that have the same words before it; empty if `tag` names none."""
    found = _VERSION.fullmatch(tag)
    return newest(tags, f"{tag[: found.start(1)]}*") if found else ""


def following(last: str, messages: Sequence[str]) -> str:
    """The version after these commits; empty where there are none since the last."""
    now = read_version(last)
    if now is None:
        return FIRST
    return str(now.after(messages)) if messages else ""


def notes(commits: Mapping[str, str], last: str) -> str:
    """A release's notes, from commit → message, newest first."""
    lines = [f"- {commit[:8]} {message.partition(chr(10))[0]}" for commit, message in commits.items()]
    return "\n".join([f"## Since {last}" if last else "## First version", "", *lines])


def _kind(message: str) -> str:
    found = _CONVENTIONAL.match(message)
    return found["type"].lower() if found else ""


def _breaks(message: str) -> bool:
    found = _CONVENTIONAL.match(message)
    return bool(found and found["breaks"]) or bool(_BREAKS.search(message))
