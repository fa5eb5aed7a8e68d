"""An unknown key in a file that a person writes, and what was probably meant."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from releases.problem import BadInput

PREFECTS_OWN = {"$ref", "block_type_slug"}
Loc = tuple[int | str, ...]  # pydantic's word


def unknown(key: str, known: Iterable[str], field: str, where: str) -> BadInput:
    """The mistake, with the nearest known key. `field`: the key with everything above it."""
    every = sorted(known)
    near = difflib.get_close_matches(key, every, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"known here: {', '.join(every)}"
    return BadInput(f"unknown key `{field}`", where=where, expected=hint, got=key)


def known_keys(model: type[BaseModel], place: Loc = ()) -> list[str]:
    """The keys that there may be at a place in the model, as they are written."""
    schema = model.model_json_schema(by_alias=True)
    node: dict[str, Any] = schema
    for part in place:
        node = _behind_reference(schema, _below(node, part))
    return sorted(node.get("properties", {}))


def check_keys(section: Mapping[str, Any], model: type[BaseModel], field: str, where: str) -> None:
    """For a model that ignores what it does not know, as Prefect's blocks do. Raises BadInput.

    Keys of Prefect's own may be there: a reference to another block, and what kind a stored block is.
    """
    fields = {one.alias or name: one for name, one in model.model_fields.items()}
    for key, value in section.items():
        if key not in fields and key not in PREFECTS_OWN:
            raise unknown(str(key), fields, f"{field}.{key}", where)
        inner = _model_in(fields[key].annotation) if key in fields and isinstance(value, Mapping) else None
        if inner is not None:
            check_keys(value, inner, f"{field}.{key}", where)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The one model of `Model` or `Model | None`."""
    options = getattr(annotation, "__args__", (annotation,))
    return next((one for one in options if isinstance(one, type) and issubclass(one, BaseModel)), None)


def _below(node: dict[str, Any], part: int | str) -> dict[str, Any]:
    if isinstance(part, int):
        return dict(node.get("items", {}))
    patterns = node.get("patternProperties", {})  # of a mapping with names as keys
    by_pattern: dict[str, Any] = next(iter(patterns.values()), {})
    return dict(node.get("properties", {}).get(part) or node.get("additionalProperties") or by_pattern)


def _behind_reference(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    options = [node, *node.get("anyOf", []), *node.get("allOf", [])]
    refs = [option["$ref"] for option in options if "$ref" in option]
    return dict(schema["$defs"][refs[0].rsplit("/", 1)[1]]) if refs else node
