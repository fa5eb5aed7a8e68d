"""What a person picks from in the forms of Prefect's UI: environments, and the services released there.

Prefect asks a flow's parameters for their form when it registers the flow, but also at every import, which
waits for nobody. So the lists lie in a file.
"""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from blocks.home_folder import home_folder
from releases.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from blocks.environment import Environment

FILE = "pick-lists.json"
ENVIRONMENTS, SERVICES = "environments", "services"
FROM, OR_NONE = "picked-from", "or-none"  # in a parameter's schema: the list, and whether it may stay empty
TAG = "model-deploy"


@dataclass(frozen=True)
class PickedFrom:
    """A parameter that is a list in the form, and no limit: by other ways what came later may be named."""

    name: str
    or_none: bool = False

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """What pydantic asks for."""
        return with_choices({**handler(core_schema), FROM: self.name, OR_NONE: self.or_none}, _read())


EnvironmentName = Annotated[str, PickedFrom(ENVIRONMENTS)]
EnvironmentOrAll = Annotated[str, PickedFrom(ENVIRONMENTS, or_none=True)]
ServiceName = Annotated[str, PickedFrom(SERVICES)]
ServiceOrAll = Annotated[str, PickedFrom(SERVICES, or_none=True)]


def offer() -> str:
    """Bring the forms to what there is now, those to come and those that there are; says what is offered."""
    from prefect.client.orchestration import get_client  # noqa: PLC0415 - imports Prefect
    from prefect.client.schemas.actions import DeploymentUpdate  # noqa: PLC0415
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags  # noqa: PLC0415

    environments = known_environments()
    lists = {ENVIRONMENTS: sorted(environments), SERVICES: known_services(environments.values())}
    write(lists)
    ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    with get_client(sync_client=True) as client:
        for deployment in client.read_deployments(deployment_filter=ours):
            schema = deployment.parameter_openapi_schema or {}
            shown = {name: with_choices(one, lists) for name, one in schema.get("properties", {}).items()}
            changed = DeploymentUpdate(parameter_openapi_schema={**schema, "properties": shown})
            client.update_deployment(deployment.id, changed)
    return f"{len(environments)} environments, {len(lists[SERVICES])} services"


def with_choices(parameter: dict[str, Any], lists: dict[str, list[str]]) -> dict[str, Any]:
    """A parameter's schema with what there is to pick from; without anything, it is typed.

    A service that must be named is filled in where there is but one, and no longer once there are more.
    """
    if FROM not in parameter:
        return parameter
    choices, or_none = lists.get(parameter[FROM], []), parameter[OR_NONE]
    shown = {key: value for key, value in parameter.items() if key != "enum"}
    if parameter[FROM] == SERVICES and not or_none:
        shown.pop("default", None)
        if len(choices) == 1:
            shown["default"] = choices[0]
    return {**shown, "enum": ["", *choices] if or_none else choices} if choices else shown


def write(lists: dict[str, list[str]]) -> None:
    """For the next registration in this home, if there is one."""
    home = home_folder()
    if not home.is_dir():
        return
    with tempfile.NamedTemporaryFile("w", dir=home, prefix=FILE, delete=False, encoding="utf-8") as fresh:
        json.dump(lists, fresh)
    Path(fresh.name).replace(home / FILE)


def _read() -> dict[str, list[str]]:
    """Nothing where nothing was applied yet; a list is never worth a failure."""
    try:
        found = json.loads((home_folder() / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def known_environments() -> "dict[str, Environment]":
    """Every environment that was applied."""
    from blocks.environment import environment_names, load_environment  # noqa: PLC0415

    return {name: load_environment(name) for name in environment_names()}


def known_services(environments: "Iterable[Environment]") -> list[str]:
    """Every service that an environment has a release of; those of a bucket out of reach are left out."""
    from releases.ledger import services_in  # noqa: PLC0415

    found: set[str] = set()
    for environment in environments:
        try:
            found |= services_in(environment.store, environment.name)
        except Problem:
            continue
    return sorted(found)
