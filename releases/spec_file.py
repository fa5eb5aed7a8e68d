"""Reading `model-deploy.yaml`: every mistake is named, with what was probably meant."""

import difflib
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from releases.problem import BadInput
from releases.spec import ServiceSpec

SPEC_FILE = "model-deploy.yaml"


def read_spec(folder: Path) -> ServiceSpec:
    """Read the folder's spec; a folder without one gets the defaults. Raises BadInput."""
    path = folder / SPEC_FILE
    if not path.exists():
        return ServiceSpec()
    return parse_spec(path.read_text(encoding="utf-8"), where=str(path))


def parse_spec(text: str, where: str = SPEC_FILE) -> ServiceSpec:
    """Parse a spec's text. Raises BadInput that names the field and the nearest known key."""
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadInput("the spec is not YAML", where=where, got=str(error)) from error
    if raw is None:
        raise BadInput(
            "the spec is empty",
            where=where,
            expected="at least one field, for example `name: my-model`",
            got="no content",
            next_step=f"write a field, or delete {SPEC_FILE}: every field has a default",
        )
    if not isinstance(raw, dict):
        raise BadInput(
            "the spec is not a mapping", where=where, expected="key: value", got=type(raw).__name__
        )
    try:
        return ServiceSpec.model_validate(raw)
    except ValidationError as error:
        raise _first_problem(error, where) from error


def _first_problem(error: ValidationError, where: str) -> BadInput:
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = _known_keys(first["loc"][:-1])
        near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"known here: {', '.join(known)}"
        return BadInput(f"unknown key `{field}`", where=where, expected=hint, got=str(first["loc"][-1]))
    return BadInput(
        f"`{field}` is not right", where=where, expected=first["msg"], got=repr(first.get("input"))[:200]
    )


def _known_keys(path: tuple[int | str, ...]) -> list[str]:
    schema = ServiceSpec.model_json_schema(by_alias=True)
    node: dict[str, Any] = schema
    for part in path:
        child = node.get("items", {}) if isinstance(part, int) else node.get("properties", {}).get(part, {})
        options = [child, *child.get("anyOf", []), *child.get("allOf", [])]
        refs = [option["$ref"] for option in options if "$ref" in option]
        node = schema["$defs"][refs[0].rsplit("/", 1)[1]] if refs else child
    return sorted(node.get("properties", {}))
