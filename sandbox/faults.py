"""Faults on demand: what a cloud does on a bad day."""

import asyncio
import contextlib
import fnmatch
from enum import StrEnum
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandbox.compute.operations import failing
from sandbox.errors import ApiError
from sandbox.routing import Atomic, Here, Json
from sandbox.world import World

CLOSED_SECONDS = 5.0
CONTROL = "/sandbox/"


class Kind(StrEnum):
    """What goes wrong."""

    latency = "latency"  # the answer comes later, else all is well
    forbidden = "forbidden"  # 403, a permission is missing
    quota = "quota"  # 403 quotaExceeded
    conflict = "conflict"  # 409
    condition = "condition"  # 412
    rate_limit = "rate_limit"  # 429
    internal = "internal"  # 500
    unavailable = "unavailable"  # 503
    lost_request = "lost_request"  # the connection breaks before anything was done
    lost_response = "lost_response"  # it is done, then the connection breaks
    operation_error = "operation_error"  # the request is taken, its operation fails


ANSWERS = {
    Kind.forbidden: (403, "forbidden", "Required permission is missing (injected)."),
    Kind.quota: (403, "quotaExceeded", "Quota 'CPUS' exceeded. Limit: 24.0 (injected)."),
    Kind.conflict: (409, "resourceInUse", "The resource is in use (injected)."),
    Kind.condition: (412, "conditionNotMet", "Precondition failed (injected)."),
    Kind.rate_limit: (429, "rateLimitExceeded", "Rate limit exceeded (injected)."),
    Kind.internal: (500, "backendError", "Internal error (injected)."),
    Kind.unavailable: (503, "backendError", "Service unavailable (injected)."),
}


class Fault(BaseModel):
    """One fault, for as many matching requests as `count` says, or until removed where it is null."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind
    method: str = "*"
    path: str = "*"  # as in the shell: * stands for anything, slashes too
    vm: str = "*"  # at the metadata servers: the VM's name
    count: int | None = Field(default=1, ge=1)
    seconds: float = Field(default=0, ge=0)  # for latency
    code: str = "INTERNAL_ERROR"  # for operation_error
    message: str = ""
    id: str = ""  # given by the sandbox
    hits: int = 0

    def concerns(self, method: str, path: str, vm: str) -> bool:
        """Whether it is about this request."""
        return (
            self.method.upper() in {"*", method}
            and fnmatch.fnmatchcase(path, self.path)
            and fnmatch.fnmatchcase(vm, self.vm)
        )


class Faulty:
    """The outermost layer of every app: the first fault that matches is what happens."""

    def __init__(self, app: ASGIApp, world: World) -> None:
        self.app = app
        self.world = world

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, perhaps badly."""
        if scope["type"] != "http" or scope["path"].startswith(CONTROL):
            await self.app(scope, receive, send)
            return
        fault = self._next(scope)
        if fault is None:
            await self.app(scope, receive, send)
        elif fault.kind is Kind.latency:
            await asyncio.sleep(fault.seconds)
            await self.app(scope, receive, send)
        elif fault.kind is Kind.operation_error:
            token = failing.set((fault.code, fault.message or "Injected failure."))
            try:
                await self.app(scope, receive, send)
            finally:
                failing.reset(token)
        elif fault.kind is Kind.lost_request:
            await _hang_up(receive, send)
        elif fault.kind is Kind.lost_response:
            await self.app(scope, receive, _nowhere)
            await _hang_up(receive, send)
        else:
            code, reason, message = ANSWERS[fault.kind]
            error = ApiError(code, reason, fault.message or message)
            headers = {"Retry-After": "1"} if code in {429, 503} else None
            await JSONResponse(error.body(), code, headers)(scope, receive, send)

    def _next(self, scope: Scope) -> Fault | None:
        vm = self.world.network.vms.get(scope["server"])
        with self.world.lock:
            for fault in self.world.faults:
                if fault.concerns(scope["method"], scope["path"], vm.name if vm else ""):
                    fault.hits += 1
                    if fault.count is not None:
                        fault.count -= 1
                        if not fault.count:
                            self.world.faults.remove(fault)
                    return fault
        return None


async def _nowhere(message: Message) -> None:
    """Take what would be sent."""


async def _hang_up(receive: Receive, send: Send) -> None:
    """Break the connection. ASGI has no word for it; uvicorn's `send` knows its connection."""
    cycle: Any = getattr(send, "__self__", None)
    cycle.transport.abort()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CLOSED_SECONDS):
            while (await receive())["type"] != "http.disconnect":
                pass


router = APIRouter(prefix="/sandbox/faults", route_class=Atomic)


@router.post("")
def inject(world: Here, fault: Fault) -> Json:
    """Add a fault after those that are there."""
    added = fault.model_copy(update={"id": world.new_id(), "hits": 0})
    world.faults.append(added)
    return added.model_dump(mode="json")


@router.get("")
def waiting(world: Here) -> Json:
    """Those that are still to come."""
    return {"faults": [fault.model_dump(mode="json") for fault in world.faults]}


@router.delete("")
def clear(world: Here) -> Json:
    """All is well again."""
    world.faults.clear()
    return {}


@router.delete("/{id}")
def remove(world: Here, id: str) -> Json:  # noqa: A002 - the path's name
    """Take one back."""
    world.faults[:] = [fault for fault in world.faults if fault.id != id]
    return {}
