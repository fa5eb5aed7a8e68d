"""The IAM policy of a project (Resource Manager)."""

from typing import Annotated

from fastapi import APIRouter, Body

from sandbox import policy
from sandbox.compute.instance import project_number
from sandbox.routing import Atomic, Caller, Here, Json, Resource

router = APIRouter(route_class=Atomic)


@router.post("/v1/projects/{project}:getIamPolicy")
@router.post("/v3/projects/{project}:getIamPolicy")
def get_policy(
    world: Here, caller: Caller, project: str, body: Annotated[Json | None, Body()] = None
) -> Json:
    """Who may do what in the whole project."""
    policy.demand(world, caller, "resourcemanager.projects.getIamPolicy", project, {}, f"projects/{project}")
    return world.policies.get(project_number(project), policy.empty())


@router.post("/v1/projects/{project}:setIamPolicy")
@router.post("/v3/projects/{project}:setIamPolicy")
def set_policy(world: Here, caller: Caller, project: str, body: Resource) -> Json:
    """Say who may do what in the whole project."""
    policy.demand(world, caller, "resourcemanager.projects.setIamPolicy", project, {}, f"projects/{project}")
    number = project_number(project)
    before = world.policies.get(number, policy.empty())
    world.policies[number] = policy.checked(body.get("policy") or {}, before, stale=409)
    return world.policies[number]
