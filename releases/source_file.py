"""Reading `sources.yaml`: every mistake is named, with what was probably meant."""

import difflib
from pathlib import Path

from pydantic import ValidationError

from releases.data_source import Source, Sources
from releases.known_keys import known_keys, unknown
from releases.problem import BadInput, plainly
from releases.wrong_value import place_of, shown
from releases.yaml_text import YamlError, read_yaml


def read_sources(file: Path) -> dict[str, Source]:
    """Every source that the file declares, by name. Raises BadInput that names the field."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput("the sources cannot be read", where=str(file), got=str(error)) from error
    return parse_sources(text, where=str(file))


def parse_sources(text: str, where: str = "sources.yaml") -> dict[str, Source]:
    """Parse the file's text. Raises BadInput that names the field."""
    try:
        raw = read_yaml(text)
        return Sources.model_validate(raw).sources
    except YamlError as error:
        raise BadInput("the sources are not YAML", where=where, got=str(error)) from error
    except ValidationError as error:
        first = error.errors()[0]
        field = place_of(first["loc"])
        if first["type"] == "extra_forbidden":
            known = known_keys(Sources, first["loc"][:-1])
            raise unknown(place_of(first["loc"][-1:]), known, field, where) from None
        expected, got = plainly(first["msg"]), shown(first)
        # Not chained: a traceback would show what pydantic has read.
        raise BadInput(f"`{field}` is not right", where=where, expected=expected, got=got) from None


def named(sources: dict[str, Source], name: str) -> Source:
    """One source. Raises BadInput that names the nearest known one."""
    if name in sources:
        return sources[name]
    near = difflib.get_close_matches(name, sources, n=1)
    known = ", ".join(sources) or "none is declared yet"
    raise BadInput(
        f"there is no source {name}", expected=f"did you mean {near[0]}?" if near else f"one of: {known}"
    )
