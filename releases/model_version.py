"""Versions of a model (v1, v1.1, v2), and names that point at one (aliases)."""

import re
from dataclasses import dataclass
from functools import total_ordering
from typing import Annotated

from pydantic import Field

from releases.problem import BadInput

_NUMBER = "(0|[1-9][0-9]*)"
VERSION = rf"^v{_NUMBER}(\.{_NUMBER})*$"
ALIAS = r"^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$"
LIKE_A_VERSION = r"^v[0-9]"

VersionText = Annotated[str, Field(pattern=VERSION, description="v1, v1.1, v2, …")]


@total_ordering
@dataclass(frozen=True)
class ModelVersion:
    """v1 < v1.0 < v1.1 < v1.10 < v2: by number, and the shorter first where all of it is the same."""

    numbers: tuple[int, ...]

    @classmethod
    def parse(cls, text: str) -> "ModelVersion":
        """Read a version. Raises BadInput."""
        if not is_version(text):
            raise BadInput("this is no model version", expected="v1, v1.1, v2, …", got=text)
        return cls(tuple(int(number) for number in text.removeprefix("v").split(".")))

    def __str__(self) -> str:
        return "v" + ".".join(str(number) for number in self.numbers)

    def __lt__(self, other: "ModelVersion") -> bool:
        return self.numbers < other.numbers


def is_version(text: str) -> bool:
    """Whether it is written like a version."""
    return re.fullmatch(VERSION, text) is not None


def is_alias(text: str) -> bool:
    """Whether it could be an alias: nothing that could be taken for a version."""
    return re.fullmatch(ALIAS, text) is not None and re.match(LIKE_A_VERSION, text) is None
