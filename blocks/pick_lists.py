"""What a person picks from in the forms of Prefect's UI: environments, and the services released there."""

from typing import TYPE_CHECKING, Any

from releases.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from blocks.environment import Environment

ENVIRONMENTS = {"environment", "from_environment", "to_environment"}
SERVICES = {"service"}
TAG = "model-deploy"


def offer() -> str:
    """Bring the forms of every deployment to what there is now; says what is offered.

    The lists are no limits: a service that came later may be named by whoever starts a run otherwise.
    """
    from prefect.client.orchestration import get_client  # noqa: PLC0415 - imports Prefect
    from prefect.client.schemas.actions import DeploymentUpdate  # noqa: PLC0415
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags  # noqa: PLC0415

    environments = known_environments()
    services = known_services(environments.values())
    ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    with get_client(sync_client=True) as client:
        for deployment in client.read_deployments(deployment_filter=ours):
            schema = with_choices(deployment.parameter_openapi_schema or {}, sorted(environments), services)
            changed = DeploymentUpdate(parameter_openapi_schema=schema, enforce_parameter_schema=False)
            client.update_deployment(deployment.id, changed)
    return f"{len(environments)} environments, {len(services)} services"


def with_choices(schema: dict[str, Any], environments: list[str], services: list[str]) -> dict[str, Any]:
    """The schema of a deployment's parameters, with lists where there is something to pick from.

    A service that must be named is filled in where there is but one, and no longer once there are more.
    """
    properties = {}
    for name, one in schema.get("properties", {}).items():
        choices = environments if name in ENVIRONMENTS else services if name in SERVICES else []
        empty = [""] if one.get("default") == "" else []
        properties[name] = {**one, **({"enum": [*empty, *choices]} if choices else {})}
    for name in SERVICES & set(schema.get("required", [])):
        properties[name].pop("default", None)
        if len(services) == 1:
            properties[name]["default"] = services[0]
    return {**schema, "properties": properties}


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
