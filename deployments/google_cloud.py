"""The `cloud` sections of the environments' file as blocks."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from blocks.google_api import GoogleApi
from blocks.provisioning.google_cloud import GoogleCloud
from deployments.environments_file import Described, parse
from releases.known_keys import known_keys, unknown
from releases.problem import BadInput, plainly
from releases.provisioning.described import CloudEnvironment
from releases.wrong_value import place_of


def described(environment: str, file: Path) -> GoogleCloud:
    """The environment as its section says. Raises BadInput."""
    return in_google_cloud(environment, parse(file), file)


def in_google_cloud(environment: str, environments: Mapping[str, Described], file: Path) -> GoogleCloud:
    """The same, of a file that was read. Raises BadInput."""
    section = cloud_section(environment, environments, file)
    ways = {name: value for name, value in section.items() if name in GoogleApi.model_fields}
    said = {name: value for name, value in section.items() if name not in ways}
    try:
        return GoogleCloud.model_validate({**ways, "described": {"name": environment, **said}})
    except ValidationError as error:
        first = error.errors()[0]
        place, where = first["loc"], f"{file}, {environment}.cloud"
        field = place_of(tuple(part for part in place if part != "described")) or "cloud"
        if first["type"] == "extra_forbidden":
            above = place[1:-1]  # without `described`
            known = {*known_keys(CloudEnvironment, above), *(() if above else GoogleApi.model_fields)}
            raise unknown(place_of(place[-1:]), known, field, where) from None
        raise BadInput(f"`{field}` is not right", where=where, expected=plainly(first["msg"])) from None


def cloud_section(environment: str, environments: Mapping[str, Described], file: Path) -> dict[str, Any]:
    """What is written there. Raises BadInput where there is none."""
    one = environments.get(environment)
    if one is None or not one.cloud:
        raise BadInput(
            f"{environment} is no environment in Google Cloud",
            where=str(file),
            expected=f"environments.{environment}.cloud with project, zone, ports and sources",
        )
    return one.cloud
