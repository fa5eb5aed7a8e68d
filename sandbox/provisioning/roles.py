"""A project's own IAM roles."""

import re
from typing import Annotated

from fastapi import APIRouter, Body, Query

from sandbox.errors import already_exists, invalid, not_found, not_implemented
from sandbox.provisioning.listing import Asked
from sandbox.routing import Atomic, Caller, Here, Json, Resource
from sandbox.world import World

router = APIRouter(route_class=Atomic)
ALL = "/v1/projects/{project}/roles"
ONE = ALL + "/{name}"
ID = re.compile(r"[a-zA-Z0-9_.]{3,64}")
CHANGEABLE = {"title", "description", "includedPermissions", "stage"}


def _find(world: World, project: str, name: str) -> Json:
    found = world.roles.get(f"projects/{project}/roles/{name}")
    if not found:
        raise not_found(f"projects/{project}/roles/{name}")
    return found


def _check(body: Json) -> None:
    if unknown := set(body) - CHANGEABLE - {"name", "etag"}:
        raise not_implemented(f"the field {min(unknown)} of a role")


@router.post(ALL)
def create(world: Here, caller: Caller, project: str, body: Resource) -> Json:
    """Create a role; its name is taken for weeks, even when it is deleted."""
    name, role = body.get("roleId", ""), body.get("role") or {}
    if not ID.fullmatch(name):
        raise invalid(f'The role name must be in the form "projects/{project}/roles/[a-zA-Z0-9_.]{{3,64}}".')
    _check(role)
    full = f"projects/{project}/roles/{name}"
    if full in world.roles:
        raise already_exists(full)
    world.roles[full] = {"stage": "ALPHA", **role, "name": full, "etag": "BwVV"}
    return world.roles[full]


@router.get(ALL)
def list_(world: Here, caller: Caller, project: str, page: Asked) -> Json:
    """Those that are not deleted, without their permissions."""
    mine = [one for name, one in world.roles.items() if name.startswith(f"projects/{project}/")]
    shown = [
        {key: value for key, value in one.items() if key != "includedPermissions"}
        for one in mine
        if not one.get("deleted")
    ]
    return page.of("roles", shown)


@router.get(ONE)
def get(world: Here, caller: Caller, project: str, name: str) -> Json:
    """One role, a deleted one too."""
    return _find(world, project, name)


@router.patch(ONE)
def patch(
    world: Here,
    caller: Caller,
    project: str,
    name: str,
    body: Resource,
    mask: Annotated[str, Query(alias="updateMask")] = "",
) -> Json:
    """Change what the mask names, or what is given."""
    role = _find(world, project, name)
    _check(body)
    if role.get("deleted"):
        raise invalid(f"You can't update role {role['name']}: it is deleted.")
    fields = [one for one in mask.split(",") if one] or [one for one in body if one in CHANGEABLE]
    if unknown := set(fields) - CHANGEABLE:
        raise not_implemented(f"a change of {min(unknown)} of a role")
    for field in fields:
        role.pop(field, None)
        role.update({field: body[field]} if field in body else {})
    return role


@router.delete(ONE)
def delete(world: Here, caller: Caller, project: str, name: str) -> Json:
    """Delete a role: it gives nothing any more, and can be brought back."""
    role = _find(world, project, name)
    role["deleted"] = True
    return role


@router.post(ONE + ":undelete")
def undelete(
    world: Here, caller: Caller, project: str, name: str, body: Annotated[Json | None, Body()] = None
) -> Json:
    """Bring a deleted role back."""
    role = _find(world, project, name)
    if not role.pop("deleted", False):
        raise invalid(f"You can't undelete role {role['name']}: it is not deleted.")
    return role
