"""Service Usage: which APIs a project has switched on. Kept, not enforced: the others answer all the same."""

import re
from typing import Annotated

from fastapi import APIRouter, Body

from sandbox.compute.instance import project_number
from sandbox.errors import ApiError, not_implemented
from sandbox.provisioning.listing import Asked
from sandbox.provisioning.long_running import begin
from sandbox.routing import Atomic, Caller, Here, Json, Resource
from sandbox.world import World

router = APIRouter(route_class=Atomic)
ALL = "/v1/projects/{project}/services"
SERVICE = re.compile(r"[a-z0-9]+\.googleapis\.com")
KIND = "google.api.serviceusage.v1"


def _shown(world: World, project: str, name: str) -> Json:
    number = project_number(project)
    return {
        "name": f"projects/{number}/services/{name}",
        "parent": f"projects/{number}",
        "config": {"name": name},
        "state": "ENABLED" if (number, name) in world.services else "DISABLED",
    }


def _check(name: str) -> None:
    if not SERVICE.fullmatch(name):
        raise ApiError(403, "forbidden", f"Not found or permission denied for service(s): {name}.")


@router.get(ALL)
def list_(
    world: Here,
    caller: Caller,
    project: str,
    page: Asked,
    filter: str = "",  # noqa: A002 - the API's name
) -> Json:
    """Those that are on; the sandbox has no list of all there are."""
    if filter != "state:ENABLED":
        raise not_implemented("a list of services but with filter=state:ENABLED")
    number = project_number(project)
    return page.of("services", [_shown(world, project, key[1]) for key in world.services if key[0] == number])


@router.get(ALL + "/{name}")
def get(world: Here, caller: Caller, project: str, name: str) -> Json:
    """Whether a service is on."""
    _check(name)
    return _shown(world, project, name)


@router.post(ALL + "/{name}:enable")
def enable(
    world: Here, caller: Caller, project: str, name: str, body: Annotated[Json | None, Body()] = None
) -> Json:
    """Switch a service on; one that is on stays so."""
    _check(name)
    world.services.add((project_number(project), name))
    return begin(world, "", f"{KIND}.EnableServiceResponse", {"service": _shown(world, project, name)})


@router.post(ALL + ":batchEnable")
def batch_enable(world: Here, caller: Caller, project: str, body: Resource) -> Json:
    """Switch several on, all or none."""
    names = body.get("serviceIds") or []
    for name in names:
        _check(name)
    world.services.update((project_number(project), name) for name in names)
    shown = [_shown(world, project, name) for name in names]
    return begin(world, "", f"{KIND}.BatchEnableServicesResponse", {"services": shown})
