"""Reading `model-deploy.yaml`: every mistake is named, with what was probably meant."""

import re
from pathlib import Path

from pydantic import ValidationError

from releases.credentials import credentials_in
from releases.known_keys import known_keys, unknown
from releases.problem import BadInput, plainly
from releases.spec import ServiceSpec
from releases.spec_requests import wrong_requests
from releases.wrong_value import place_of, shown
from releases.yaml_text import YamlError, read_yaml

SPEC_FILE = "model-deploy.yaml"
LONGEST_NAME = 40  # as spec.Name has it


def read_spec(folder: Path) -> ServiceSpec:
    """Read the folder's spec; a folder without one gets the defaults. Raises BadInput."""
    path = folder / SPEC_FILE
    if not path.exists():
        return ServiceSpec()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput("the spec cannot be read", where=SPEC_FILE, got=str(error)) from error
    return parse_spec(text)


def parse_spec(text: str, where: str = SPEC_FILE) -> ServiceSpec:
    """Parse a spec's text. Raises BadInput that names the field and the nearest known key."""
    try:
        raw = read_yaml(text)
    except YamlError as error:
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
        spec = ServiceSpec.model_validate(raw)
    except ValidationError as error:
        raise _first_problem(error, where) from None  # a traceback would show what pydantic has read
    for place, expected, got in wrong_requests(spec):
        raise BadInput(f"`{place}` is not right", where=where, expected=expected, got=repr(got)[:200])
    for place, kind in credentials_in(spec):
        raise _credential(place, kind, where)
    return spec


def _credential(place: str, kind: str, where: str) -> BadInput:
    """The value itself is never shown."""
    variable = place.rpartition(".")[2] if place.startswith("run.env.") else "VARIABLE"
    secret = variable.lower().replace("_", "-")
    return BadInput(
        f"`{place}` is {kind}, which anybody may read who sees the repository, the VM or the image",
        where=where,
        expected="the name of a secret of the environment, under run.secrets",
        got="a value that is not shown here",
        next_step=f"write `run: {{secrets: {{{variable}: {secret}}}}}` instead, the value into that secret: "
        "docs/describe-a-service.md#secrets",
    )


def name_of(spec: ServiceSpec, folder: str) -> str:
    """What the service is called: what its spec says, else what its folder is called. Raises BadInput."""
    if spec.name:
        return spec.name
    plain = re.sub(r"[^a-z0-9]", "-", folder.lower()).strip("-")[:LONGEST_NAME].strip("-")
    if not plain or plain[0].isdigit():
        raise BadInput(
            "the service has no name",
            expected="a folder whose name begins with a letter from a to z",
            got=folder,
            next_step=f"write `name: …` into {SPEC_FILE}",
        )
    return plain


def _first_problem(error: ValidationError, where: str) -> BadInput:
    first = error.errors()[0]
    place, field = first["loc"], place_of(first["loc"])
    if first["type"] == "extra_forbidden":
        return unknown(place_of(place[-1:]), known_keys(ServiceSpec, place[:-1]), field, where)
    return BadInput(f"`{field}` is not right", where=where, expected=plainly(first["msg"]), got=shown(first))
