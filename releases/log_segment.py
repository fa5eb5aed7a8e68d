"""A log segment: a piece of one container's log file, byte for byte, as the agent uploads it.

`logs/segments/service=…/environment=…/date=…/hour=…/NODE/CONTAINER.ORDINAL-FILE.START-END.jsonl.zst`
is a skippable zstd frame with a `Header` (any zstd reader passes over it), then the raw bytes START to END.
`….START-END.gap.json` says that these bytes are lost; without END it is not known how many.
"""

import re
import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import BinaryIO

from pydantic import BaseModel, ConfigDict, Field

SEGMENTS = "logs/segments/"
SEGMENT = ".jsonl.zst"
GAP = ".gap.json"
_MAGIC = 0x184D2A50
_LONGEST_HEADER = 1 << 20
_NAME = re.compile(
    r"(?P<container>[0-9a-f]+)\.(?P<ordinal>\d+)-(?P<file>[0-9a-f]+)\.(?P<start>\d+)-(?P<end>\d*)"
    r"(?P<kind>\.jsonl\.zst|\.gap\.json)"
)
_FOLDERS = re.compile(
    r"service=(?P<service>[^/]+)/environment=(?P<environment>[^/]+)"
    r"/date=(?P<date>\d{4}-\d\d-\d\d)/hour=(?P<hour>\d\d)/(?P<node>[^/]+)/(?P<name>[^/]+)"
)


class Origin(BaseModel):
    """Whose lines these are."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    service: str
    environment: str
    node: str
    container: str = Field(description="The engine's whole id.")
    release: int = 0
    model_version: str = ""
    log_files: int = Field(0, description="How many files of its log the engine keeps; 0: not known.")


class Header(BaseModel):
    """What a segment says of itself."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    origin: Origin
    previous_file: str = Field("", description="The container's file before this one, as far as was seen.")
    previous_size: int | None = Field(None, description="How long that one was in the end, where known.")


class Gap(BaseModel):
    """Bytes that are lost, and where they are missing."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    origin: Origin
    file: str
    start: int
    end: int | None = Field(None, description="None: not known, whole files may be missing as well.")
    reason: str
    before: str = Field("", description="Time of the first line after it, where known.")


@dataclass(frozen=True)
class Name:
    """Which bytes. `ordinal` keeps a container's files in the order they were written, whatever the clock."""

    container: str
    ordinal: int
    file: str
    start: int
    end: int | None
    lost: bool = False

    def __str__(self) -> str:
        end = "" if self.end is None else self.end
        suffix = GAP if self.lost else SEGMENT
        return f"{self.container}.{self.ordinal:06d}-{self.file}.{self.start}-{end}{suffix}"

    @classmethod
    def parse(cls, name: str) -> "Name | None":
        """From a file's name; None where it is no segment's."""
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        return cls(
            container=match["container"],
            ordinal=int(match["ordinal"]),
            file=match["file"],
            start=int(match["start"]),
            end=int(match["end"]) if match["end"] else None,
            lost=match["kind"] == GAP,
        )


@dataclass(frozen=True)
class Place:
    """Where a segment lies below `logs/segments/`."""

    service: str
    environment: str
    hour: datetime
    node: str
    name: Name

    @property
    def path(self) -> str:
        """The part of the key after `logs/segments/`."""
        return f"{partition(self.service, self.environment, self.hour)}/{self.node}/{self.name}"

    @property
    def key(self) -> str:
        """The object's key."""
        return SEGMENTS + self.path

    @classmethod
    def parse(cls, path: str) -> "Place | None":
        """From the part of a key after `logs/segments/`; None where it is no segment's."""
        match = _FOLDERS.fullmatch(path)
        name = Name.parse(PurePosixPath(path).name)
        if match is None or name is None:
            return None
        hour = datetime.fromisoformat(f"{match['date']}T{match['hour']}:00:00").replace(tzinfo=UTC)
        return cls(match["service"], match["environment"], hour, match["node"], name)


def partition(service: str, environment: str, hour: datetime) -> str:
    """The folders that a table reader understands as columns."""
    return f"service={service}/environment={environment}/date={hour:%Y-%m-%d}/hour={hour:%H}"


def header_frame(header: Header) -> bytes:
    """The header as a skippable frame."""
    data = header.model_dump_json().encode()
    return struct.pack("<II", _MAGIC, len(data)) + data


def read_header(file: BinaryIO) -> Header:
    """Read the header; the file stands at the data afterwards. Raises ValueError."""
    start = file.read(8)
    if len(start) != 8:  # noqa: PLR2004 - magic and length
        raise ValueError("the segment is shorter than its header")
    magic, length = struct.unpack("<II", start)
    if magic != _MAGIC or length > _LONGEST_HEADER:
        raise ValueError("the segment does not start with its header")
    return Header.model_validate_json(file.read(length))
