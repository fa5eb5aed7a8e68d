"""Operations: PENDING, RUNNING, DONE; the effect is there when it is DONE, and not before."""

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import APIRouter, Query

from sandbox.compute.listing import Asked
from sandbox.compute.names import link
from sandbox.errors import ApiError, invalid, not_found
from sandbox.routing import Atomic, Caller, Here, Json
from sandbox.world import World

router = APIRouter(route_class=Atomic)

Effect = Callable[[], None]
Work = Callable[[], Coroutine[Any, Any, None]]

# Set by fault injection for the request being answered: the operation it starts will end with this error.
failing: ContextVar[tuple[str, str] | None] = ContextVar("failing", default=None)


@dataclass
class Operation:
    """One operation and its way through time."""

    resource: Json
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def fail(self, code: str, message: str) -> None:
        """Say why the effect did not come."""
        self.resource["error"] = {"errors": [{"code": code, "message": message}]}
        self.resource["httpErrorStatusCode"] = 400
        self.resource["httpErrorMessage"] = "BAD REQUEST"


@dataclass(frozen=True)
class Request:
    """Who asked for what where: what every operation tells."""

    world: World
    project: str
    place: str
    caller: str
    request_id: str | None = None

    def again(self, kind: str, target: str) -> Json | None:
        """The operation this very request started before its answer got lost, if any."""
        if not self.request_id:
            return None
        try:
            number = uuid.UUID(self.request_id).int
        except ValueError:
            number = 0
        if not number:
            raise invalid(f"Invalid value for field 'requestId': '{self.request_id}'. Must be a UUID.")
        found = self.world.requests.get((self.project, self.request_id))
        if not found:
            return None
        if (found.resource["operationType"], found.resource["targetLink"]) != (kind, self.link(target)):
            raise invalid(f"The requestId '{self.request_id}' was used for another request.")
        return found.resource

    def link(self, target: str) -> str:
        """The target's link."""
        return link(self.project, self.place, *target.split("/")) if target else link(self.project, "")

    def start(
        self,
        kind: str,
        target: str,
        target_id: str,
        effect: Effect,
        undo: Effect | None = None,
        work: Work | None = None,
    ) -> Json:
        """Start an operation; `work` may take its time, then comes the effect, or `undo` if it is to fail."""
        world = self.world
        number = world.new_id()
        name = f"operation-{int(world.now() * 1000)}-{uuid.uuid4().hex[:13]}-{uuid.uuid4().hex[:8]}"
        address = link(self.project, self.place, "operations", name)
        resource: Json = {
            "kind": "compute#operation",
            "id": number,
            "name": name,
            "operationType": kind,
            "targetLink": self.link(target),
            "targetId": target_id,
            "status": "PENDING",
            "user": self.caller.partition(":")[2],
            "progress": 0,
            "insertTime": world.timestamp(),
            "selfLink": address,
        }
        if self.place != "global":
            which = "region" if "/regions/" in address else "zone"
            resource[which] = link(self.project, self.place)
        if self.request_id:
            resource["clientOperationId"] = self.request_id
        operation = Operation(resource)
        world.operations[self.project, self.place, name] = operation
        if self.request_id:
            world.requests[self.project, self.request_id] = operation
        world.background(_run(world, operation, effect, undo, work, failing.get()))
        return dict(resource)


async def _run(
    world: World,
    operation: Operation,
    effect: Effect,
    undo: Effect | None,
    work: Work | None,
    failure: tuple[str, str] | None,
) -> None:
    resource = operation.resource
    await asyncio.sleep(world.settings.pending_seconds)
    with world.lock:
        resource.update(status="RUNNING", startTime=world.timestamp())
    await asyncio.sleep(world.settings.running_seconds)
    problem = failure
    if not problem and work:
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - whatever it is, the operation must end
            problem = ("INTERNAL_ERROR", str(error))
    with world.lock:
        if not problem:
            try:
                effect()
            except ApiError as error:
                problem = (error.reason, error.message)
            except OSError as error:  # a VM's address cannot be listened on
                problem = ("INTERNAL_ERROR", str(error))
        if problem:
            operation.fail(*problem)
            if undo:
                undo()
        resource.update(status="DONE", progress=100, endTime=world.timestamp())
    operation.done.set()


def _find(world: World, project: str, place: str, name: str) -> Operation:
    found = world.operations.get((project, place, name))
    if found:
        return found
    # By number as well: both are in use.
    for key, operation in world.operations.items():
        if key[:2] == (project, place) and operation.resource["id"] == name:
            return operation
    raise not_found("/".join(link(project, place, "operations", name).split("/")[5:]))


@router.get("/projects/{project}/zones/{place}/operations/{name}")
@router.get("/projects/{project}/regions/{place}/operations/{name}")
def get(world: Here, caller: Caller, project: str, place: str, name: str) -> Json:
    """How far it is."""
    return _find(world, project, place, name).resource


@router.get("/projects/{project}/global/operations/{name}")
def get_global(world: Here, caller: Caller, project: str, name: str) -> Json:
    """How far it is."""
    return _find(world, project, "global", name).resource


@router.post("/projects/{project}/zones/{place}/operations/{name}/wait")
@router.post("/projects/{project}/regions/{place}/operations/{name}/wait")
async def wait(world: Here, caller: Caller, project: str, place: str, name: str) -> Json:
    """Answer when it is done, or after a while with whatever it is by then."""
    with world.lock:
        operation = _find(world, project, place, name)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(operation.done.wait(), world.settings.wait_seconds)
    with world.lock:
        return dict(operation.resource)


@router.post("/projects/{project}/global/operations/{name}/wait")
async def wait_global(world: Here, caller: Caller, project: str, name: str) -> Json:
    """Answer when it is done, or after a while with whatever it is by then."""
    return await wait(world, caller, project, "global", name)


@router.get("/projects/{project}/zones/{place}/operations")
@router.get("/projects/{project}/regions/{place}/operations")
def list_(world: Here, caller: Caller, project: str, place: str, page: Asked) -> Json:
    """Those of one zone or region."""
    found = [one.resource for key, one in world.operations.items() if key[:2] == (project, place)]
    return page.of("compute#operationList", link(project, place, "operations"), found)


@router.get("/projects/{project}/global/operations")
def list_global(world: Here, caller: Caller, project: str, page: Asked) -> Json:
    """The global ones."""
    return list_(world=world, caller=caller, project=project, place="global", page=page)


RequestId = Annotated[str | None, Query(alias="requestId")]
