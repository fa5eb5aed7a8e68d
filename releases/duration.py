"""Durations as people write them: seconds as a number, or 300ms, 90s, 2m, 1.5h."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

DAY = 86_400.0
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
PATTERN = r"^[0-9]+(\.[0-9]+)?(ms|s|m|h)$"
_FORM = re.compile(PATTERN)


def in_seconds(value: Any) -> Any:
    """The seconds that a text says; a number is one already. Raises ValueError."""
    if not isinstance(value, str) or value.replace(".", "", 1).isdigit():
        return value
    if not _FORM.match(value):
        raise ValueError("seconds, or a number with its unit: 300ms, 90s, 2m, 1.5h")
    number = value.rstrip("msh")
    return float(number) * UNITS[value.removeprefix(number)]


_Written = Annotated[str, Field(pattern=PATTERN, examples=["90s", "2m", "1.5h"])]
# Seconds, however they were written.
Duration = Annotated[float, BeforeValidator(in_seconds, json_schema_input_type=float | _Written)]
