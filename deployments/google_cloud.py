"""The `cloud` sections of the environments' file as blocks."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from blocks.google_api import GoogleApi
from blocks.provisioning.google_cloud import GoogleCloud
from releases.problem import BadInput


def in_google_cloud(file: Path) -> list[str]:
    """The environments that have such a section. Raises BadInput."""
    return [name for name, one in _environments(file).items() if one.get("cloud")]


def described(environment: str, file: Path) -> GoogleCloud:
    """The environment as its section says. Raises BadInput."""
    section: dict[str, Any] = (_environments(file).get(environment) or {}).get("cloud") or {}
    if not section:
        raise BadInput(
            f"{environment} is no environment in Google Cloud",
            where=str(file),
            expected=f"environments.{environment}.cloud with project, zone, ports and sources",
        )
    ways = {name: value for name, value in section.items() if name in GoogleApi.model_fields}
    said = {name: value for name, value in section.items() if name not in ways}
    try:
        return GoogleCloud.model_validate({**ways, "described": {"name": environment, **said}})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"] if part != "described") or "cloud"
        raise BadInput(
            f"`{field}` is not right", where=f"{file}, {environment}.cloud", expected=first["msg"]
        ) from error


def _environments(file: Path) -> dict[str, Any]:
    try:
        return dict(yaml.safe_load(file.read_text(encoding="utf-8"))["environments"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise BadInput("the environments cannot be read", where=str(file), got=str(error)) from error
