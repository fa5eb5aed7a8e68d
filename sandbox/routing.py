"""How handlers are written: plain functions that run whole, under the world's lock, or a 501."""

import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, cast
from urllib.parse import unquote

from fastapi import Body, Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from sandbox.errors import not_implemented
from sandbox.world import World

# Parameters every Google API takes and that change nothing we answer: `fields` only asks for less.
HARMLESS = frozenset(
    {"alt", "$alt", "$.xgafv", "fields", "key", "prettyPrint", "quotaUser", "userIp", "uploadType",
     "returnPartialSuccess"}
)  # fmt: skip


async def _world(request: Request) -> World:
    return cast("World", request.app.state.world)


async def _caller(request: Request) -> str:
    world = cast("World", request.app.state.world)
    return world.identities.caller(request.headers.get("authorization"), world.now())


Json = dict[str, Any]
Here = Annotated[World, Depends(_world)]
Caller = Annotated[str, Depends(_caller)]
Resource = Annotated[Json, Body()]


class Atomic(APIRoute):
    """A route whose plain handler runs on the event loop, undisturbed: the whole call or nothing of it."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, self.undisturbed(endpoint), **{**options, "response_model": None})

    @staticmethod
    def undisturbed(endpoint: Callable[..., Any]) -> Callable[..., Any]:
        """Run the handler under the lock of the world it is given."""
        if inspect.iscoroutinefunction(endpoint):
            return endpoint

        @functools.wraps(endpoint)
        async def whole(**given: Any) -> Response:
            world: World = given["world"]
            with world.lock:
                return as_response(endpoint(**given))

        return whole

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Decode the path's parts and refuse what the handler would not look at."""
        handler = super().get_route_handler()
        asked = query_names(self.dependant)

        async def checked(request: Request) -> Response:
            last = request.url.path.rpartition("/")[2]
            if ":" in last and ":" not in self.path:
                raise not_implemented(f"the method {last.partition(':')[2]}")
            unknown = set(request.query_params) - asked - HARMLESS
            if unknown:
                raise not_implemented(f"the parameter {min(unknown)} of {request.method} {self.path}")
            parts = request.scope["path_params"]
            request.scope["path_params"] = {name: unquote(value) for name, value in parts.items()}
            return await handler(request)

        return checked


def query_names(dependant: Dependant) -> set[str]:
    """The query parameters that a handler and what it depends on look at."""
    own = {field.alias for field in dependant.query_params}
    return own.union(*(query_names(inner) for inner in dependant.dependencies))


def as_response(found: object) -> Response:
    """JSON unless the handler made its own response."""
    return found if isinstance(found, Response) else JSONResponse(found)


class EncodedPath:
    """Route on the path as sent: an object's name may hold slashes, sent as %2F."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Give the app the path undecoded."""
        if scope["type"] == "http":
            scope = {**scope, "path": scope["raw_path"].decode("ascii")}
        await self.app(scope, receive, send)
