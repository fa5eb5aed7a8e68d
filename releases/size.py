"""Sizes as people write them: 512m, 1.5g."""

from typing import Annotated

from pydantic import Field

PATTERN = r"^[0-9]+(\.[0-9]+)?[kmg]$"
UNITS = {"k": 2**10, "m": 2**20, "g": 2**30}

Size = Annotated[str, Field(pattern=PATTERN)]


def in_bytes(size: str) -> int:
    """How many bytes that is."""
    return int(float(size[:-1]) * UNITS[size[-1]])
