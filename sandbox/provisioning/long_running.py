"""Operations of the newer APIs: done or not done."""

from fastapi import APIRouter

from sandbox.compute.operations import failing
from sandbox.errors import not_found
from sandbox.routing import Atomic, Caller, Here, Json
from sandbox.world import World

router = APIRouter(route_class=Atomic)
INTERNAL = 13


def begin(world: World, prefix: str, kind: str, response: Json) -> Json:
    """An operation that is done after a while, with this response. The effect is the caller's business."""
    name = f"{prefix}operations/{world.new_id()}"
    operation: Json = {"name": name, "done": False, "metadata": {}}
    world.long_operations[name] = operation
    failure = failing.get()

    def end() -> None:
        operation["done"] = True
        if failure:
            operation["error"] = {"code": INTERNAL, "message": f"{failure[0]}: {failure[1]}"}
        else:
            operation["response"] = {"@type": f"type.googleapis.com/{kind}", **response}

    world.later(world.settings.pending_seconds + world.settings.running_seconds, end)
    return dict(operation)


@router.get("/v1/operations/{name}")
def get(world: Here, caller: Caller, name: str) -> Json:
    """How far it is."""
    return _find(world, f"operations/{name}")


@router.get("/v1/projects/{project}/locations/{location}/operations/{name}")
def get_located(world: Here, caller: Caller, project: str, location: str, name: str) -> Json:
    """How far it is."""
    return _find(world, f"projects/{project}/locations/{location}/operations/{name}")


def _find(world: World, name: str) -> Json:
    if name not in world.long_operations:
        raise not_found(name)
    return world.long_operations[name]


POOL = "/v1/projects/{project}/locations/{location}/workloadIdentityPools/{pool}"


@router.get(POOL + "/operations/{name}")
def get_of_pool(world: Here, caller: Caller, project: str, location: str, pool: str, name: str) -> Json:
    """How far it is."""
    return _find(
        world, f"projects/{project}/locations/{location}/workloadIdentityPools/{pool}/operations/{name}"
    )


@router.get(POOL + "/providers/{provider}/operations/{name}")
def get_of_provider(
    world: Here, caller: Caller, project: str, location: str, pool: str, provider: str, name: str
) -> Json:
    """How far it is."""
    where = f"projects/{project}/locations/{location}/workloadIdentityPools/{pool}/providers/{provider}"
    return _find(world, f"{where}/operations/{name}")
