"""The environments' file, read in this one place; apply.py and google_cloud.py make blocks of its sections.

It imports no Prefect, so that a command can see what it needs before it connects.
"""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from releases.acme import Issuer
from releases.known_keys import known_keys, unknown
from releases.problem import BadInput, plainly
from releases.reconcile import Drifted
from releases.rules import Rules
from releases.spec import Name
from releases.trigger import WatchedServices
from releases.version import Releasing
from releases.wrong_value import place_of
from releases.yaml_text import YamlError, read_yaml


class Described(BaseModel):
    """One environment as it is written."""

    model_config = ConfigDict(extra="forbid")
    branch: str | None = None
    tags: str = ""
    services: WatchedServices = Field(default_factory=list)
    release: Releasing = "by hand"
    reconcile: Drifted = "report"
    rules: Rules = Field(default_factory=Rules)
    acme: Issuer | None = None
    # `provision` comes before there is anything to release to, and needs none of these three
    registry: dict[str, Any] | None = None
    target: dict[str, Any] | None = None
    store: dict[str, Any] | None = None
    cloud: dict[str, Any] | None = None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    environments: dict[Name, Described]


def parse(file: Path) -> dict[str, Described]:
    """Every environment in it. Raises BadInput that names the field and the nearest known key."""
    try:
        return _File.model_validate(read_yaml(file.read_text(encoding="utf-8"))).environments
    except (OSError, UnicodeDecodeError, YamlError) as error:
        raise BadInput(
            "the environments cannot be read",
            where=str(file),
            got=str(error),
            next_step="mend it, or model-deploy apply FILE with the one that is to count from now on",
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = first["loc"]
        field = place_of(place) or "environments"
        if first["type"] == "extra_forbidden":
            known = known_keys(_File, place[:-1])
            raise unknown(place_of(place[-1:]), known, field, str(file)) from None
        expected = plainly(first["msg"])
        raise BadInput(f"`{field}` is not right", where=str(file), expected=expected) from None
