"""Artifact Registry's images: who asks is checked here, the images lie in a plain OCI registry behind it.

Only questions and manifests pass through: for layers a client is sent to that registry, once it may.
"""

import asyncio
import base64
import binascii
import http.client
import re
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response

from sandbox import policy
from sandbox.errors import ApiError, not_implemented
from sandbox.routing import Here
from sandbox.world import World

router = APIRouter()
USERS = {"oauth2accesstoken", "_dcgcr_token"}
NAMED = re.compile(r"(?P<project>[^/]+)/(?P<repository>[^/]+)/.+/(?P<kind>manifests|blobs|tags)/.+")
PERMISSIONS = {
    **dict.fromkeys(("GET", "HEAD", "pull"), "downloadArtifacts"),
    **dict.fromkeys(("POST", "PUT", "push"), "uploadArtifacts"),
}
PASSED_ON = {"accept", "content-type"}
PASSED_BACK = {
    "content-type",
    "content-length",
    "docker-content-digest",
    "docker-upload-uuid",
    "location",
    "range",
}
SECONDS = 60.0


@router.get("/v2/token")
async def token(request: Request, world: Here, scope: Annotated[tuple[str, ...], Query()] = ()) -> Response:
    """The access token again, for what it may do: https://distribution.github.io/distribution/spec/auth/token."""
    secret = _secret(request.headers.get("authorization", ""))
    caller = _caller(world, secret)
    if secret and not caller:
        return _error(401, "UNAUTHORIZED", "authentication failed")
    for one in scope:
        kind, name, actions = [*one.split(":"), "", ""][:3]
        for action in actions.split(",") if kind == "repository" else ():
            right = PERMISSIONS.get(action, "deleteArtifacts")
            if refused := _refused(world, caller, right, *name.split("/")[:2]):
                return refused
    return JSONResponse({"token": secret, "expires_in": 3600})


def _secret(header: str) -> str:
    """The password of a user that says: it is an access token."""
    try:
        user, _, secret = base64.b64decode(header.removeprefix("Basic ")).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return secret if user in USERS else ""


@router.api_route("/v2/{rest:path}", methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
async def image(request: Request, world: Here, rest: str) -> Response:
    """Anything about an image, asked of the registry behind once the caller may."""
    named = NAMED.fullmatch(rest)
    if rest and (not named or request.method not in PERMISSIONS):
        raise not_implemented(f"{request.method} /v2/{rest} of a registry")
    caller = _caller(world, request.headers.get("authorization", "").removeprefix("Bearer "))
    if not caller:
        host = request.headers["host"]
        challenge = f'Bearer realm="http://{host}/v2/token",service="{host}"'
        return _error(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": challenge})
    if not world.settings.registry:
        raise not_implemented("images: there is no registry behind (--registry)")
    permission = PERMISSIONS[request.method]
    refused = named and _refused(world, caller, permission, named["project"], named["repository"])
    if refused:
        return refused
    behind = f"http://{world.settings.registry}/v2/{rest}"
    if named and named["kind"] == "blobs" and request.method == "GET":
        return Response(status_code=307, headers={"Location": behind})
    headers = {name: ", ".join(request.headers.getlist(name)) for name in PASSED_ON & set(request.headers)}
    path = f"/v2/{rest}" + (f"?{request.url.query}" if request.url.query else "")
    return await asyncio.to_thread(
        _ask, world.settings.registry, request.method, path, await request.body(), headers
    )


def _caller(world: World, secret: str) -> str:
    """Whose token it is; empty: nobody's, or one that has expired."""
    try:
        return world.identities.caller(f"Bearer {secret}", world.now())
    except ApiError:
        return ""


def _refused(world: World, caller: str, right: str, project: str, name: str = "") -> Response | None:
    """What Artifact Registry says to who may not, in its words."""
    with world.lock:
        key = next((key for key in world.repositories if (key[0], key[2]) == (project, name)), None)
        own = world.repository_policies.get(key, {}) if key else {}
        where = f"projects/{project}/locations/{key[1] if key else '-'}/repositories/{name}"
        permission = f"artifactregistry.repositories.{right}"
        allowed = policy.may(world, caller, permission, project, own, where)
    if allowed:
        return None if key else _error(404, "NAME_UNKNOWN", f'Repository "{name}" not found')
    said = f'Permission "{permission}" denied'
    if not caller:
        nobody = "Unauthenticated request. Unauthenticated requests do not have"
        said = f'{nobody} permission "{permission}"'
    return _error(403, "DENIED", f'{said} on resource "{where}" (or it may not exist)')


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"errors": [{"code": code, "message": message}]}, status, headers)


def _ask(host: str, method: str, path: str, body: bytes, headers: dict[str, str]) -> Response:
    """The registry's own answer; it names itself as the place of an upload."""
    connection = http.client.HTTPConnection(host, timeout=SECONDS)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders() if name.lower() in PASSED_BACK}
        return Response(answer.read(), answer.status, found)
    except OSError as error:
        return _error(503, "UNAVAILABLE", f"the registry behind the sandbox does not answer: {error}")
    finally:
        connection.close()
