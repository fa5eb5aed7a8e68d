"""Managed instance groups, zonal and regional."""

from typing import Annotated

from fastapi import APIRouter, Query

from sandbox.compute.group import ACTIONS, Group, Member
from sandbox.compute.listing import Asked
from sandbox.compute.names import check_name, check_region, check_zone, full, last, link, merged
from sandbox.compute.operations import Request, RequestId
from sandbox.compute.templates import find as find_template
from sandbox.errors import already_exists, condition_not_met, invalid, not_found, not_implemented
from sandbox.routing import Atomic, Caller, Here, Json, Resource
from sandbox.world import ZONES, World

router = APIRouter(route_class=Atomic)
IN_ZONE = "/projects/{project}/zones/{place}/instanceGroupManagers"
IN_REGION = "/projects/{project}/regions/{place}/instanceGroupManagers"
ONE = "/{name}"
KIND = "instanceGroupManagers"
CHANGEABLE = {"allInstancesConfig", "updatePolicy", "autoHealingPolicies", "description", "targetSize",
              "instanceTemplate", "namedPorts", "fingerprint", "name"}  # fmt: skip


def _check(project: str, place: str) -> None:
    (check_region if place in ZONES else check_zone)(project, place)


def _find(world: World, project: str, place: str, name: str) -> Group:
    _check(project, place)
    found = world.groups.get((project, place, name))
    if not found:
        which = "regions" if place in ZONES else "zones"
        raise not_found(f"projects/{project}/{which}/{place}/{KIND}/{name}")
    return found


@router.post(IN_ZONE)
@router.post(IN_REGION)
def insert(
    world: Here, caller: Caller, project: str, place: str, body: Resource, request_id: RequestId = None
) -> Json:
    """Create a group; its VMs follow."""
    _check(project, place)
    request = Request(world, project, place, caller, request_id)
    name = check_name(body.get("name"))
    if again := request.again("compute.instanceGroupManagers.insert", f"{KIND}/{name}"):
        return again
    if (project, place, name) in world.groups:
        raise already_exists(f"projects/{project}/{place}/{KIND}/{name}")
    size = body.get("targetSize")
    if not isinstance(size, int) or size < 0:
        raise invalid("Required field 'resource.targetSize' not specified")
    for unknown in ("statefulPolicy", "standbyPolicy", "instanceFlexibilityPolicy", "versions"):
        if body.get(unknown):
            raise not_implemented(f"{unknown} of a group")
    find_template(world, project, last(body.get("instanceTemplate") or ""))
    which = "region" if place in ZONES else "zone"
    group = Group(
        project,
        place,
        name,
        {
            "baseInstanceName": name,
            **body,
            "kind": "compute#instanceGroupManager",
            "id": world.new_id(),
            "creationTimestamp": world.timestamp(),
            which: link(project, place),
            "instanceTemplate": full(project, body["instanceTemplate"]),
            "instanceGroup": link(project, place, "instanceGroups", name),
            "updatePolicy": {
                "type": "OPPORTUNISTIC",
                "minimalAction": "REPLACE",
                **(body.get("updatePolicy") or {}),
            },
            "selfLink": link(project, place, KIND, name),
        },
        revision=world.new_id() if body.get("allInstancesConfig") else "",
    )

    def effect() -> None:
        world.groups[project, place, name] = group
        group.reconcile(world)

    kind = "compute.instanceGroupManagers.insert"
    return request.start(kind, f"{KIND}/{name}", group.resource["id"], effect)


@router.get(IN_ZONE)
@router.get(IN_REGION)
def list_(world: Here, caller: Caller, project: str, place: str, page: Asked) -> Json:
    """Those of one zone or region."""
    _check(project, place)
    found = [group.shown() for key, group in world.groups.items() if key[:2] == (project, place)]
    which = "compute#regionInstanceGroupManagerList" if place in ZONES else "compute#instanceGroupManagerList"
    return page.of(which, link(project, place, KIND), found)


@router.get(IN_ZONE + ONE)
@router.get(IN_REGION + ONE)
def get(world: Here, caller: Caller, project: str, place: str, name: str) -> Json:
    """One group and how far it is."""
    return _find(world, project, place, name).shown()


@router.patch(IN_ZONE + ONE)
@router.patch(IN_REGION + ONE)
def patch(
    world: Here,
    caller: Caller,
    project: str,
    place: str,
    name: str,
    body: Resource,
    request_id: RequestId = None,
) -> Json:
    """Change what the group wants. The operation is DONE before any VM has changed."""
    request = Request(world, project, place, caller, request_id)
    if again := request.again("patch", f"{KIND}/{name}"):
        return again
    group = _find(world, project, place, name)
    if unknown := set(body) - CHANGEABLE:
        raise not_implemented(f"a change of {min(unknown)} of a group")
    if body.get("fingerprint", group.fingerprint) != group.fingerprint:
        raise condition_not_met("Supplied fingerprint does not match current fingerprint of the group.")
    wanted = merged(group.resource, body)
    wanted.pop("fingerprint", None)
    proactive = wanted["updatePolicy"]["type"] == "PROACTIVE"
    if "instanceTemplate" in body:
        find_template(world, project, last(body["instanceTemplate"]))
        wanted["instanceTemplate"] = full(project, body["instanceTemplate"])
        if proactive and last(wanted["instanceTemplate"]) != group.template:
            raise not_implemented("replacing the instances of a group")

    def effect() -> None:
        if wanted.get("allInstancesConfig") != group.resource.get("allInstancesConfig"):
            group.revision = world.new_id()
        group.resource = wanted
        group.reconcile(world)
        if proactive:
            world.background(group.roll(world))

    return request.start("patch", f"{KIND}/{name}", group.resource["id"], effect)


@router.delete(IN_ZONE + ONE)
@router.delete(IN_REGION + ONE)
def delete(
    world: Here, caller: Caller, project: str, place: str, name: str, request_id: RequestId = None
) -> Json:
    """Delete a group with its VMs."""
    request = Request(world, project, place, caller, request_id)
    kind = "compute.instanceGroupManagers.delete"
    if again := request.again(kind, f"{KIND}/{name}"):
        return again
    group = _find(world, project, place, name)

    def effect() -> None:
        group.deleted = True
        group.resource["targetSize"] = 0
        group.reconcile(world)

    return request.start(kind, f"{KIND}/{name}", group.resource["id"], effect)


@router.post(IN_ZONE + ONE + "/resize")
@router.post(IN_REGION + ONE + "/resize")
def resize(
    world: Here,
    caller: Caller,
    project: str,
    place: str,
    name: str,
    size: Annotated[int, Query(ge=0)],
    request_id: RequestId = None,
) -> Json:
    """Want another number of VMs."""
    request = Request(world, project, place, caller, request_id)
    kind = "compute.instanceGroupManagers.resize"
    if again := request.again(kind, f"{KIND}/{name}"):
        return again
    group = _find(world, project, place, name)

    def effect() -> None:
        group.resource["targetSize"] = size
        group.reconcile(world)

    return request.start(kind, f"{KIND}/{name}", group.resource["id"], effect)


@router.post(IN_ZONE + ONE + "/applyUpdatesToInstances")
@router.post(IN_REGION + ONE + "/applyUpdatesToInstances")
def apply_updates(world: Here, caller: Caller, project: str, place: str, name: str, body: Resource) -> Json:
    """Bring the named VMs up to date. The operation is DONE when that has begun."""
    group = _find(world, project, place, name)
    least, most = body.get("minimalAction", "NONE"), body.get("mostDisruptiveAllowedAction", "REPLACE")
    if least not in ACTIONS or most not in ACTIONS:
        raise invalid(f"Invalid value for field 'minimalAction': '{least}'.")
    chosen = _chosen(group, body)
    return Request(world, project, place, caller).start(
        "compute.instanceGroupManagers.applyUpdatesToInstances",
        f"{KIND}/{name}",
        group.resource["id"],
        effect=lambda: group.apply(world, chosen, least, most),
    )


def _chosen(group: Group, body: Json) -> list[Member]:
    if body.get("allInstances"):
        return list(group.members.values())
    names = [last(one) for one in body.get("instances") or []]
    strangers = [name for name in names if name not in group.members]
    if strangers or not names:
        raise invalid(f"Invalid value for field 'instances': {strangers}. Not members of the group.")
    return [group.members[name] for name in names]


@router.post(IN_ZONE + ONE + "/listManagedInstances")
@router.post(IN_REGION + ONE + "/listManagedInstances")
def managed_instances(world: Here, caller: Caller, project: str, place: str, name: str, page: Asked) -> Json:
    """The group's VMs and what is being done with each."""
    group = _find(world, project, place, name)
    shown = []
    for member in group.members.values():
        vm = group.vm(world, member)
        template = link(project, "global", "instanceTemplates", member.template)
        one: Json = {
            "name": member.name,
            "instance": link(project, member.zone, "instances", member.name),
            "currentAction": member.action,
            "version": {"instanceTemplate": template},
        }
        if vm:
            one.update(id=vm.id, instanceStatus=vm.status)
        shown.append(one)
    found = page.of("", "", shown)
    answer = {"managedInstances": found.get("items", [])}
    return {**answer, "nextPageToken": found["nextPageToken"]} if "nextPageToken" in found else answer
