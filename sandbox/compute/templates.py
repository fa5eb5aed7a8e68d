"""Instance templates, the global ones."""

from fastapi import APIRouter

from sandbox.compute.instance import checked_metadata
from sandbox.compute.listing import Asked
from sandbox.compute.names import check_name, last, link
from sandbox.compute.operations import Request, RequestId
from sandbox.errors import ApiError, already_exists, invalid, not_found
from sandbox.routing import Atomic, Caller, Here, Json, Resource
from sandbox.world import World

router = APIRouter(route_class=Atomic)
ALL = "/projects/{project}/global/instanceTemplates"
ONE = ALL + "/{name}"


def find(world: World, project: str, name: str) -> Json:
    """The template, or 404."""
    found = world.templates.get((project, name))
    if not found:
        raise not_found(f"projects/{project}/global/instanceTemplates/{name}")
    return found


@router.post(ALL)
def insert(world: Here, caller: Caller, project: str, body: Resource, request_id: RequestId = None) -> Json:
    """Create a template; it never changes afterwards."""
    request = Request(world, project, "global", caller, request_id)
    name = check_name(body.get("name"))
    if again := request.again("insert", f"instanceTemplates/{name}"):
        return again
    if (project, name) in world.templates:
        raise already_exists(f"projects/{project}/global/instanceTemplates/{name}")
    properties = body.get("properties") or {}
    if not properties.get("machineType"):
        raise invalid("Invalid value for field 'resource.properties.machineType': ''.")
    template = {
        **body,
        "properties": {**properties, "metadata": checked_metadata(properties.get("metadata") or {})},
        "kind": "compute#instanceTemplate",
        "id": world.new_id(),
        "creationTimestamp": world.timestamp(),
        "selfLink": link(project, "global", "instanceTemplates", name),
    }

    def effect() -> None:
        world.templates[project, name] = template

    return request.start("insert", f"instanceTemplates/{name}", template["id"], effect)


@router.get(ALL)
def list_(world: Here, caller: Caller, project: str, page: Asked) -> Json:
    """All templates."""
    found = [template for key, template in world.templates.items() if key[0] == project]
    return page.of("compute#instanceTemplateList", link(project, "global", "instanceTemplates"), found)


@router.get(ONE)
def get(world: Here, caller: Caller, project: str, name: str) -> Json:
    """One template."""
    return find(world, project, name)


@router.delete(ONE)
def delete(world: Here, caller: Caller, project: str, name: str, request_id: RequestId = None) -> Json:
    """Delete a template that no group uses."""
    request = Request(world, project, "global", caller, request_id)
    if again := request.again("delete", f"instanceTemplates/{name}"):
        return again
    template = find(world, project, name)
    users = [
        group.name for group in world.groups.values() if group.project == project and group.template == name
    ]
    if users:
        what = f"projects/{project}/global/instanceTemplates/{name}"
        used = f"The instance_template resource '{what}' is already being used by '{last(users[0])}'"
        raise ApiError(400, "resourceInUseByAnotherResource", used)

    def effect() -> None:
        world.templates.pop((project, name), None)

    return request.start("delete", f"instanceTemplates/{name}", template["id"], effect)
