"""What a published model version consists of. The manifest is written last: it is what makes a version."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from releases.model_version import VersionText, is_alias, is_version
from releases.problem import BadInput, Failed

MODELS = "models/"
ALIASES = "aliases/models/"  # of their own: a retention policy on the models must not hold them fast
MANIFEST = "manifest.json"
FORMAT = 1
LONGEST_PATH = 512  # bytes; a key of Cloud Storage may have 1024
SHORT = 16  # hex digits of a file's SHA-256 in its key
LONG = 64  # where the short key is taken by bytes that changed while they were sent

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Metric = bool | int | float | str


class ModelFile(BaseModel):
    """One file of a version."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str = Field(description="From the version's folder, with slashes.")
    size: int = Field(ge=0, description="Bytes.")
    crc32c: str = Field(description="Base64 of the four bytes, as Cloud Storage writes it.")
    sha256: Sha256
    digits: int = Field(
        SHORT, description="Of the SHA-256 in its key.", exclude_if=lambda digits: digits == SHORT
    )

    @property
    def key_part(self) -> str:
        """By path and content: nothing that an unfinished publish left behind is ever in the way."""
        return f"{self.path}@{self.sha256[: self.digits]}"

    @property
    def content(self) -> tuple[str, str]:
        """What makes it another file."""
        return self.path, self.sha256

    @field_validator("path")
    @classmethod
    def _stays_inside(cls, path: str) -> str:
        wrong = what_is_wrong_with(path)
        if wrong:
            raise ValueError(f"{path!r}: {wrong}")
        return path


class Manifest(BaseModel):
    """A version of a model, whole and for good."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = Field(FORMAT, le=FORMAT)
    name: str
    version: VersionText
    files: tuple[ModelFile, ...] = Field(min_length=1, description="Sorted by path.")
    metrics: Mapping[str, Metric] = Field(default_factory=dict)
    note: str = ""
    created: datetime
    created_by: str = ""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    def key_of(self, file: ModelFile) -> str:
        """Where the file lies."""
        return version_prefix(self.name, self.version) + file.key_part

    def differs_from(self, standing: "Manifest") -> str:
        """What this says that the other, which was first, does not; empty: nothing."""
        if [file.content for file in self.files] != [file.content for file in standing.files]:
            return "other content"
        if self.metrics not in ({}, standing.metrics):
            return f"the same files and other metrics: {dict(standing.metrics) or 'none'}"
        if self.note not in ("", standing.note):
            return f"the same files and another note: {standing.note or 'none'}"
        return ""

    def to_bytes(self) -> bytes:
        """As it is stored."""
        return self.model_dump_json(indent=2).encode() + b"\n"


class Alias(BaseModel):
    """What a name points at, since when and by whose hand."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    version: VersionText
    at: datetime
    by: str = ""


class Aliases(BaseModel):
    """The names that point at versions of one model; unlike versions, they move."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    aliases: Mapping[str, Alias] = Field(default_factory=dict)

    def version_of(self, name: str, text: str) -> str:
        """The version that the text stands for. Raises BadInput."""
        if is_version(text):
            return text
        if not is_alias(text) or text not in self.aliases:
            raise BadInput(
                f"{name} has no version or alias {text}",
                expected=f"one of {', '.join(self.aliases)}" if self.aliases else "a version such as v1.1",
                next_step=f"model-deploy model list {name}",
            )
        return self.aliases[text].version


def version_prefix(name: str, version: str) -> str:
    """Where everything of a version lies."""
    return f"{MODELS}{name}/{version}/"


def manifest_key(name: str, version: str) -> str:
    """Where the manifest lies."""
    return version_prefix(name, version) + MANIFEST


def aliases_key(name: str) -> str:
    """Where the model's aliases lie."""
    return f"{ALIASES}{name}.json"


def parse_manifest(data: bytes, where: str) -> Manifest:
    """Read a manifest. Raises Failed."""
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        raise Failed("a model's manifest cannot be read", where=where, got=first["msg"]) from error


def digest_of(data: bytes) -> str:
    """The manifest's SHA-256, which stands for the version: it covers every file's."""
    return hashlib.sha256(data).hexdigest()


def what_is_wrong_with(path: str) -> str:
    """Why this cannot be the path of a file in a version; empty if it can."""
    parts = path.split("/")
    if not path or "" in parts:
        return "a path from the model's folder, without empty parts, is needed"
    if ".." in parts or "." in parts:
        return "a path with . or .. may lead out of the model's folder"
    if "\\" in path or not path.isprintable():
        return "backslashes and control characters are not portable"
    try:
        long = len(path.encode()) > LONGEST_PATH
    except UnicodeEncodeError:
        return "the name is not valid UTF-8"
    return f"it is longer than {LONGEST_PATH} bytes" if long else ""
