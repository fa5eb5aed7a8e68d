"""The metadata server of a VM, as the programs on it see it."""

import asyncio
import json
import re
from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import RedirectResponse, Response

from sandbox.compute.instance import Instance, etag, project_number
from sandbox.compute.names import last
from sandbox.world import World

ROOT = "/computeMetadata/v1"
GUEST = "instance/guest-attributes"
REUSE_SECONDS = 300.0  # the real one hands out the same token until five minutes before its end
MINUTE = 60.0
KNOWN = {"alt", "recursive", "wait_for_change", "last_etag", "timeout_sec", "scopes"}
HEADERS = {"Metadata-Flavor": "Google", "Server": "Metadata Server for VM", "X-Frame-Options": "0"}
Leaf = str | int | list[str]


class Refusal(Exception):  # noqa: N818 - not all of them are errors
    """An answer that is no value."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def metadata_app(world: World) -> FastAPI:
    """One app for all VMs; the address it was reached at says which."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    @app.api_route("/{path:path}", methods=["GET", "PUT", "DELETE", "POST", "PATCH", "HEAD"])
    async def answer(request: Request, path: str) -> Response:
        try:
            return await _answer(world, request, "/" + path)
        except Refusal as refusal:
            return _text(str(refusal), code=refusal.code)

    return app


def _text(text: str, code: int = 200, mark: str = "") -> Response:
    headers = {**HEADERS, "ETag": mark} if mark else HEADERS
    return Response(text, code, headers, "application/text")


async def _answer(world: World, request: Request, path: str) -> Response:
    vm = world.network.vms.get(request.scope["server"])
    if vm is None:
        raise Refusal(503, "no VM is on at this address")
    if path == "/" and request.method == "GET":
        return _text("computeMetadata/\n")  # how google-auth finds out where it runs
    if request.headers.get("metadata-flavor") != "Google":
        raise Refusal(403, "Missing required header 'Metadata-Flavor': 'Google'")
    if "x-forwarded-for" in request.headers:
        raise Refusal(403, "Requests with the header 'X-Forwarded-For' are not answered")
    if not path.startswith(ROOT + "/"):
        raise Refusal(501, f"the sandbox does not implement {path}")
    unknown = set(request.query_params) - KNOWN
    if unknown:
        raise Refusal(501, f"the sandbox does not implement the parameter {min(unknown)}")
    path = path.removeprefix(ROOT + "/")
    if path.startswith(GUEST + "/"):
        return await _guest_attribute(world, vm, request, path.removeprefix(GUEST + "/"))
    if request.method != "GET":
        raise Refusal(501, f"the sandbox does not implement {request.method} here")
    if match := re.fullmatch(r"instance/service-accounts/([^/]+)/token", path):
        return _token(world, vm, match[1])
    return await _value(vm, request, path)


async def _value(vm: Instance, request: Request, path: str) -> Response:
    query = request.query_params
    value = look(tree(vm), path)
    if isinstance(value, dict) and not path.endswith("/") and path:
        return RedirectResponse(f"{ROOT}/{path}/?{request.url.query}".rstrip("?"), 301, HEADERS)
    if query.get("wait_for_change") == "true":
        value = await _changed(vm, request, path, value, _seconds(query.get("timeout_sec")))
    mark = etag(value)
    recursive = query.get("recursive") == "true"
    alt = query.get("alt") or ("json" if recursive and isinstance(value, dict) else "text")
    if alt == "json" and (recursive or not isinstance(value, dict)):
        return Response(json.dumps(value), 200, {**HEADERS, "ETag": mark}, "application/json")
    if alt == "json":
        return Response(json.dumps(_names(path, value)), 200, {**HEADERS, "ETag": mark}, "application/json")
    if isinstance(value, dict):
        if recursive:
            raise Refusal(501, "the sandbox does not implement recursive=true&alt=text")
        return _text("".join(f"{name}\n" for name in _names(path, value)), mark=mark)
    return _text("".join(f"{one}\n" for one in value) if isinstance(value, list) else str(value), mark=mark)


def _seconds(given: str | None) -> float | None:
    try:
        return float(given) if given else None
    except ValueError:
        raise Refusal(400, "timeout_sec is no number") from None


async def _changed(vm: Instance, request: Request, path: str, value: Any, seconds: float | None) -> Any:
    """The value once it is another than the caller knows, or whatever it is at the end of the time."""
    last_etag = request.query_params.get("last_etag")
    known = last_etag if last_etag is not None else etag(value)
    if last_etag == "0":
        return value
    try:
        async with asyncio.timeout(seconds):
            while etag(value) == known:
                await vm.changed.wait()
                if vm.deleted or await request.is_disconnected():
                    raise Refusal(503, "the VM is gone or off")
                value = look(tree(vm), path)
    except TimeoutError:
        pass
    return value


def tree(vm: Instance) -> dict[str, Any]:
    """All there is to know, with the names of `recursive=true`."""
    number, account = project_number(vm.project), vm.service_account
    accounts: dict[str, Any] = {}
    if account:
        about = {"aliases": ["default"], "email": account["email"], "scopes": account["scopes"]}
        accounts = {"default": about, account["email"]: about}
    interface = {
        "ip": vm.address,
        "network": f"projects/{number}/networks/default",
        "mac": "42:01:7f:00:01:01",
    }
    return {
        "instance": {
            "attributes": vm.metadata(),
            "cpuPlatform": vm.resource["cpuPlatform"],
            "description": vm.resource.get("description", ""),
            "hostname": f"{vm.name}.{vm.zone}.c.{vm.project}.internal",
            "id": int(vm.id),
            "machineType": f"projects/{number}/machineTypes/{last(vm.resource['machineType'])}",
            "maintenanceEvent": "NONE",
            "name": vm.name,
            "networkInterfaces": [interface],
            "preempted": "FALSE",
            "serviceAccounts": accounts,
            "tags": vm.resource["tags"].get("items", []),
            "zone": f"projects/{number}/zones/{vm.zone}",
        },
        "project": {"attributes": {}, "numericProjectId": int(number), "projectId": vm.project},
        "universe": {"universeDomain": "googleapis.com"},
    }


def look(found: Any, path: str) -> Any:
    """The value at the path, whose own names are written with dashes."""
    parts = [part for part in path.split("/") if part]
    for place, part in enumerate(parts):
        free = place and parts[place - 1] in {"attributes", "service-accounts"}
        name = part if free else re.sub(r"-(\w)", lambda match: match[1].upper(), part)
        if isinstance(found, list) and found and isinstance(found[0], dict):
            found = {str(number): one for number, one in enumerate(found)}
        if not isinstance(found, dict) or name not in found:
            # Custom keys may be missing; of the rest the sandbox has less than the real one.
            raise Refusal(404 if free else 501, f"no {path} here")
        found = found[name]
    return found


def _names(path: str, value: dict[str, Any]) -> list[str]:
    free = path.rstrip("/").rpartition("/")[2] in {"attributes", "service-accounts"}
    return [
        (name if free else re.sub(r"([A-Z])", r"-\1", name).lower()) + ("/" if isinstance(one, dict) else "")
        for name, one in value.items()
    ]


def _token(world: World, vm: Instance, who: str) -> Response:
    """An access token of the attached service account."""
    account = vm.service_account
    if not account or who not in {"default", account["email"]}:
        raise Refusal(404, f"no service account {who} here")
    with world.lock:
        now, member = world.now(), f"serviceAccount:{account['email']}"
        token, expires = vm.token
        if expires - now <= REUSE_SECONDS:
            expires = now + world.settings.token_seconds
            token = world.identities.issue(member, expires)
            vm.token = (token, expires)
    body = {"access_token": token, "expires_in": int(expires - now), "token_type": "Bearer"}
    return Response(json.dumps(body), 200, HEADERS, "application/json")


async def _guest_attribute(world: World, vm: Instance, request: Request, path: str) -> Response:
    body = (await request.body()).decode(errors="replace")
    with world.lock:
        if vm.metadata().get("enable-guest-attributes", "").upper() != "TRUE":
            raise Refusal(403, "Guest attributes endpoint access is disabled.")
        now = world.now()
        vm.queries[:] = [at for at in vm.queries if now - at < MINUTE]
        if len(vm.queries) >= world.settings.guest_attribute_queries:
            raise Refusal(429, "Too many guest attribute queries; try again in a minute.")
        vm.queries.append(now)
        namespace, _, key = path.partition("/")
        if request.method == "GET":
            return _text(_guest_value(vm, namespace, key))
        if not namespace or not key or "/" in key:
            raise Refusal(400, "a guest attribute is NAMESPACE/KEY")
        if request.method == "PUT":
            vm.guest[namespace, key] = body
        elif request.method == "DELETE":
            vm.guest.pop((namespace, key), None)
        else:
            raise Refusal(501, f"the sandbox does not implement {request.method} here")
    return _text("")


def _guest_value(vm: Instance, namespace: str, key: str) -> str:
    if key:
        if (namespace, key) not in vm.guest:
            raise Refusal(404, f"no guest attribute {namespace}/{key}")
        return vm.guest[namespace, key]
    if not namespace:
        return "".join(f"{one}/\n" for one in sorted({one for one, _ in vm.guest}))
    keys = sorted(its for one, its in vm.guest if one == namespace)
    if not keys:
        raise Refusal(404, f"no guest attributes in {namespace}")
    return "".join(f"{its}\n" for its in keys)
