"""What is said of a value that pydantic refuses: where it stands, and never what may be a credential."""

import re
from typing import Any

from pydantic import ValidationError

from releases.known_keys import Loc
from releases.problem import plainly

LONGEST = 200
# Below these anything may stand, and what does is often a secret.
_FREE = {"env", "secrets", "args", "auth", "headers", "parameters", "url", "json", "command", "entrypoint"}
_TEXT_FOR_A_SECTION = {"dict_type", "list_type", "model_type", "model_attributes_type"}


def place_of(loc: Loc) -> str:
    """The field's name. Of `TOKEN=abc` or `TOKEN:abc`, which YAML takes for a key, only `TOKEN`."""
    return ".".join(re.split(r"[=:\s]", str(part))[0] for part in loc)


def shown(first: Any) -> str:
    """What stands there, of one of `ValidationError.errors()`."""
    value = first["input"]
    if value is None:
        return "nothing"
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    if _FREE & set(first["loc"]) or first["type"] in _TEXT_FOR_A_SECTION:
        return "a value that is not shown here"
    return repr(value)[:LONGEST]


def briefly(error: ValidationError) -> str:
    """The first mistake, in one line. pydantic's own text shows what it has read."""
    first = error.errors()[0]
    place = place_of(first["loc"])
    return f"{place}: {plainly(first['msg'])}" if place else plainly(first["msg"])
