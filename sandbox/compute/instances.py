"""The instances of a zone."""

from typing import Annotated

from fastapi import APIRouter, Query

from sandbox.compute.instance import (
    Instance,
    halt,
    new_instance,
    remove,
    run,
    switch_off,
    throw_away,
)
from sandbox.compute.listing import Asked
from sandbox.compute.names import check_name, check_zone, fingerprint, last, link
from sandbox.compute.operations import Request, RequestId
from sandbox.compute.rights import demand_act_as
from sandbox.errors import ApiError, already_exists, condition_not_met, invalid, not_found
from sandbox.routing import Atomic, Caller, Here, Json, Resource
from sandbox.world import ZONES, World

router = APIRouter(route_class=Atomic)
ZONE = "/projects/{project}/zones/{zone}/instances"
ONE = ZONE + "/{name}"


def find(world: World, project: str, zone: str, name: str) -> Instance:
    """The VM by name or number, or 404."""
    check_zone(project, zone)
    found = world.instances.get((project, zone, name))
    if not found:
        same_place = [vm for key, vm in world.instances.items() if key[:2] == (project, zone)]
        found = next((vm for vm in same_place if vm.id == name), None)
    if not found:
        raise not_found(f"projects/{project}/zones/{zone}/instances/{name}")
    return found


@router.post(ZONE)
def insert(
    world: Here,
    caller: Caller,
    project: str,
    zone: str,
    body: Resource,
    request_id: RequestId = None,
    template: Annotated[str, Query(alias="sourceInstanceTemplate")] = "",
) -> Json:
    """Create a VM and start it."""
    check_zone(project, zone)
    request = Request(world, project, zone, caller, request_id)
    demand_act_as(world, caller, body.get("serviceAccounts"))
    name = check_name(body.get("name"))
    if again := request.again("insert", f"instances/{name}"):
        return again
    if (project, zone, name) in world.instances:
        raise already_exists(f"projects/{project}/zones/{zone}/instances/{name}")
    if template:
        found = world.templates.get((project, last(template)))
        if not found:
            raise not_found(f"projects/{project}/global/instanceTemplates/{last(template)}")
        body = {**found["properties"], **body}
    return create(request, new_instance(world, project, zone, body))


def create(request: Request, vm: Instance) -> Json:
    """Put a new VM into the books and start it."""
    world = request.world
    world.instances[vm.project, vm.zone, vm.name] = vm
    staging = world.settings.pending_seconds
    world.later(staging, lambda: None if vm.deleted else vm.resource.update(status="STAGING"))
    return request.start(
        "insert",
        f"instances/{vm.name}",
        vm.id,
        effect=lambda: run(world, vm),
        undo=lambda: remove(world, vm),
    )


@router.get(ZONE)
def list_(world: Here, caller: Caller, project: str, zone: str, page: Asked) -> Json:
    """Those of one zone."""
    check_zone(project, zone)
    found = [vm.resource for key, vm in world.instances.items() if key[:2] == (project, zone)]
    return page.of("compute#instanceList", link(project, zone, "instances"), found)


@router.get("/projects/{project}/aggregated/instances")
def aggregated(
    world: Here,
    caller: Caller,
    project: str,
    page: Asked,
    include_all_scopes: Annotated[bool, Query(alias="includeAllScopes")] = True,
    return_partial_success: Annotated[bool, Query(alias="returnPartialSuccess")] = False,
) -> Json:
    """Those of all zones, by zone; zones without any are always named, and no zone is ever away."""
    mine = [vm.resource for key, vm in world.instances.items() if key[0] == project]
    answer = page.of("compute#instanceAggregatedList", link(project, "aggregated", "instances"), mine)
    shown = answer.get("items", [])
    items: Json = {}
    for zone in (zone for zones in ZONES.values() for zone in zones):
        here = [one for one in shown if last(one["zone"]) == zone]
        message = f"There are no results for scope 'zones/{zone}' on this page."
        nothing = {"code": "NO_RESULTS_ON_PAGE", "message": message}
        items[f"zones/{zone}"] = {"instances": here} if here else {"warning": nothing}
    return {**answer, "items": items}


@router.get(ONE)
def get(world: Here, caller: Caller, project: str, zone: str, name: str) -> Json:
    """One VM."""
    return find(world, project, zone, name).resource


@router.delete(ONE)
def delete(
    world: Here, caller: Caller, project: str, zone: str, name: str, request_id: RequestId = None
) -> Json:
    """Shut a VM down and forget it."""
    request = Request(world, project, zone, caller, request_id)
    if again := request.again("delete", f"instances/{name}"):
        return again
    vm = find(world, project, zone, name)
    if vm.resource["deletionProtection"]:
        raise invalid(f"Resource cannot be deleted if it's protected against deletion: '{vm.name}'.")
    return destroy(request, vm)


def destroy(request: Request, vm: Instance) -> Json:
    """Take a VM out of the books."""
    world, before = request.world, vm.status
    vm.resource["status"] = "STOPPING"
    return request.start(
        "delete",
        f"instances/{vm.name}",
        vm.id,
        effect=lambda: remove(world, vm),
        undo=lambda: vm.resource.update(status=before),
        work=lambda: _gone(world, vm),
    )


async def _gone(world: World, vm: Instance) -> None:
    """Off the network, off, and away."""
    await world.network.unplug(vm)
    await throw_away(world, vm)


async def _down(world: World, vm: Instance) -> None:
    """Off the network and off."""
    await world.network.unplug(vm)
    await switch_off(world, vm)


@router.post(ONE + "/setMetadata")
def set_metadata(
    world: Here,
    caller: Caller,
    project: str,
    zone: str,
    name: str,
    body: Resource,
    request_id: RequestId = None,
) -> Json:
    """Replace the metadata, if the caller knows the present one."""
    request = Request(world, project, zone, caller, request_id)
    if again := request.again("setMetadata", f"instances/{name}"):
        return again
    vm = find(world, project, zone, name)
    demand_act_as(world, caller, vm.resource["serviceAccounts"])
    before = vm.accepted
    metadata = vm.accept_metadata(body)

    def undo() -> None:
        if vm.accepted == metadata["fingerprint"]:
            vm.accepted = before

    return request.start(
        "setMetadata", f"instances/{name}", vm.id, effect=lambda: vm.show_metadata(metadata), undo=undo
    )


@router.post(ONE + "/setLabels")
def set_labels(
    world: Here,
    caller: Caller,
    project: str,
    zone: str,
    name: str,
    body: Resource,
    request_id: RequestId = None,
) -> Json:
    """Replace the labels, if the caller knows the present ones."""
    request = Request(world, project, zone, caller, request_id)
    if again := request.again("setLabels", f"instances/{name}"):
        return again
    vm = find(world, project, zone, name)
    if body.get("labelFingerprint") != vm.resource["labelFingerprint"]:
        raise condition_not_met("Labels fingerprint either invalid or resource labels have changed")
    labels = body.get("labels") or {}
    before = vm.resource["labelFingerprint"]
    vm.resource["labelFingerprint"] = fingerprint(labels)
    return request.start(
        "setLabels",
        f"instances/{name}",
        vm.id,
        effect=lambda: vm.put_labels(labels),
        undo=lambda: vm.resource.update(labelFingerprint=before),
    )


@router.post(ONE + "/start")
def start(
    world: Here, caller: Caller, project: str, zone: str, name: str, request_id: RequestId = None
) -> Json:
    """Boot a stopped VM; a running one is left alone."""
    request = Request(world, project, zone, caller, request_id)
    if again := request.again("start", f"instances/{name}"):
        return again
    vm = find(world, project, zone, name)
    if vm.status == "RUNNING":
        return request.start("start", f"instances/{name}", vm.id, effect=lambda: None)
    if vm.status != "TERMINATED":
        raise not_ready(vm)
    vm.resource["status"] = "STAGING"
    return request.start(
        "start",
        f"instances/{name}",
        vm.id,
        effect=lambda: run(world, vm),
        undo=lambda: vm.resource.update(status="TERMINATED"),
    )


@router.post(ONE + "/stop")
def stop(
    world: Here, caller: Caller, project: str, zone: str, name: str, request_id: RequestId = None
) -> Json:
    """Shut a VM down; a stopped one is left alone."""
    request = Request(world, project, zone, caller, request_id)
    if again := request.again("stop", f"instances/{name}"):
        return again
    vm = find(world, project, zone, name)
    if vm.status == "TERMINATED":
        return request.start("stop", f"instances/{name}", vm.id, effect=lambda: None)
    if vm.status != "RUNNING":
        raise not_ready(vm)
    vm.resource["status"] = "STOPPING"
    return request.start(
        "stop",
        f"instances/{name}",
        vm.id,
        effect=lambda: halt(world, vm),
        undo=lambda: vm.resource.update(status="RUNNING"),
        work=lambda: _down(world, vm),
    )


@router.post(ONE + "/reset")
def reset(
    world: Here, caller: Caller, project: str, zone: str, name: str, request_id: RequestId = None
) -> Json:
    """Pull the plug and put it back in."""
    request = Request(world, project, zone, caller, request_id)
    if again := request.again("reset", f"instances/{name}"):
        return again
    vm = find(world, project, zone, name)
    if vm.status != "RUNNING":
        raise not_ready(vm)

    return request.start(
        "reset", f"instances/{name}", vm.id, effect=lambda: None, work=lambda: power_cycle(world, vm)
    )


async def power_cycle(world: World, vm: Instance) -> None:
    """Off and on again."""
    await _down(world, vm)
    with world.lock:
        vm.serial = ""
        if not vm.deleted:
            run(world, vm)


def not_ready(vm: Instance) -> ApiError:
    """The VM is between two states, or in the wrong one."""
    what = f"projects/{vm.project}/zones/{vm.zone}/instances/{vm.name}"
    return ApiError(400, "resourceNotReady", f"The resource '{what}' is not ready")


@router.get(ONE + "/serialPort")
def serial_port(
    world: Here,
    caller: Caller,
    project: str,
    zone: str,
    name: str,
    port: Annotated[int, Query(ge=1, le=4)] = 1,
    start: Annotated[int, Query(ge=0)] = 0,
) -> Json:
    """What the VM wrote to its console, from a byte on."""
    vm = find(world, project, zone, name)
    written = vm.serial.encode() if port == 1 else b""
    return {
        "kind": "compute#serialPortOutput",
        "selfLink": link(project, zone, "instances", name, "serialPort"),
        "contents": written[start:].decode(errors="replace"),
        "start": str(min(start, len(written))),
        "next": str(len(written)),
    }


@router.get(ONE + "/getGuestAttributes")
def guest_attributes(
    world: Here,
    caller: Caller,
    project: str,
    zone: str,
    name: str,
    path: Annotated[str, Query(alias="queryPath")] = "",
    key: Annotated[str, Query(alias="variableKey")] = "",
) -> Json:
    """What programs on the VM left: all, a namespace (`ns/`) or one (`ns/key`)."""
    vm = find(world, project, zone, name)
    namespace, _, wanted = (path or key).partition("/")
    address = link(project, zone, "instances", name, "guestAttributes")
    found = [
        {"namespace": one, "key": its, "value": value}
        for (one, its), value in sorted(vm.guest.items())
        if (not namespace or one == namespace) and (not wanted or its == wanted)
    ]
    if not found:
        raise not_found(f"{'/'.join(address.split('/')[5:])}/{path or key}")
    answer: Json = {"kind": "compute#guestAttributes", "selfLink": address}
    if key:
        return {**answer, "variableKey": key, "variableValue": found[0]["value"]}
    return {**answer, "queryPath": path, "queryValue": {"items": found}}
