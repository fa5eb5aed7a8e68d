"""Firewall rules: kept, not enforced; on loopback there is nothing to enforce them with."""

from fastapi import APIRouter

from sandbox.compute.listing import Asked
from sandbox.compute.names import check_name, full, link, merged
from sandbox.compute.operations import Request, RequestId
from sandbox.errors import already_exists, invalid, not_found
from sandbox.routing import Atomic, Caller, Here, Json, Resource
from sandbox.world import World

router = APIRouter(route_class=Atomic)
ALL = "/projects/{project}/global/firewalls"
ONE = ALL + "/{name}"


def _find(world: World, project: str, name: str) -> Json:
    found = world.firewalls.get((project, name))
    if not found:
        raise not_found(f"projects/{project}/global/firewalls/{name}")
    return found


@router.post(ALL)
def insert(world: Here, caller: Caller, project: str, body: Resource, request_id: RequestId = None) -> Json:
    """Create a rule."""
    request = Request(world, project, "global", caller, request_id)
    name = check_name(body.get("name"))
    if again := request.again("insert", f"firewalls/{name}"):
        return again
    if (project, name) in world.firewalls:
        raise already_exists(f"projects/{project}/global/firewalls/{name}")
    if not body.get("allowed") and not body.get("denied"):
        raise invalid("Invalid value for field 'resource.allowed': ''. One of allowed or denied is required.")
    rule = {
        "priority": 1000,
        "direction": "INGRESS",
        "disabled": False,
        "logConfig": {"enable": False},
        **body,
        "kind": "compute#firewall",
        "id": world.new_id(),
        "creationTimestamp": world.timestamp(),
        "network": full(project, body.get("network") or "global/networks/default"),
        "selfLink": link(project, "global", "firewalls", name),
    }

    def effect() -> None:
        if (project, name) in world.firewalls:
            raise already_exists(f"projects/{project}/global/firewalls/{name}")
        world.firewalls[project, name] = rule

    return request.start("insert", f"firewalls/{name}", rule["id"], effect)


@router.get(ALL)
def list_(world: Here, caller: Caller, project: str, page: Asked) -> Json:
    """All rules."""
    found = [rule for key, rule in world.firewalls.items() if key[0] == project]
    return page.of("compute#firewallList", link(project, "global", "firewalls"), found)


@router.get(ONE)
def get(world: Here, caller: Caller, project: str, name: str) -> Json:
    """One rule."""
    return _find(world, project, name)


@router.patch(ONE)
def patch(
    world: Here, caller: Caller, project: str, name: str, body: Resource, request_id: RequestId = None
) -> Json:
    """Change a rule."""
    request = Request(world, project, "global", caller, request_id)
    if again := request.again("patch", f"firewalls/{name}"):
        return again
    rule = _find(world, project, name)

    def effect() -> None:
        world.firewalls[project, name] = merged(rule, body)

    return request.start("patch", f"firewalls/{name}", rule["id"], effect)


@router.delete(ONE)
def delete(world: Here, caller: Caller, project: str, name: str, request_id: RequestId = None) -> Json:
    """Delete a rule."""
    request = Request(world, project, "global", caller, request_id)
    if again := request.again("delete", f"firewalls/{name}"):
        return again
    rule = _find(world, project, name)

    def effect() -> None:
        world.firewalls.pop((project, name), None)

    return request.start("delete", f"firewalls/{name}", rule["id"], effect)
