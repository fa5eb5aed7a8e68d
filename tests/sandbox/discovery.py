"""The APIs' own descriptions, as google-api-python-client ships them, held against what goes over the wire."""

import functools
import importlib.util
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import jsonschema
from starlette.types import ASGIApp, Message, Receive, Scope, Send

APIS = (
    "compute.v1",
    "storage.v1",
    "secretmanager.v1",
    "iam.v1",
    "serviceusage.v1",
    "artifactregistry.v1",
    "cloudresourcemanager.v1",
    "cloudresourcemanager.v3",
    "logging.v2",
)


@dataclass(frozen=True)
class Method:
    """One method of one API."""

    api: str
    id: str
    http: str
    path: str
    takes: str
    gives: str
    parameters: frozenset[str]

    @functools.cached_property
    def pattern(self) -> re.Pattern[str]:
        parts = re.split(r"(\{\+?\w+\})", self.path)
        kinds = ["[^/:]+" if part.startswith("{") else re.escape(part) for part in parts]
        wide = [r"[^:]+" if part.startswith("{+") else kind for part, kind in zip(parts, kinds, strict=True)]
        return re.compile("".join(wide))


@functools.cache
def document(api: str) -> dict[str, Any]:
    spec = importlib.util.find_spec("googleapiclient")
    assert spec
    assert spec.origin
    folder = Path(spec.origin).parent / "discovery_cache" / "documents"
    return json.loads((folder / f"{api}.json").read_text())


@functools.cache
def methods(api: str) -> list[Method]:
    return list(_methods(api, document(api)))


def _methods(api: str, part: dict[str, Any]) -> Iterator[Method]:
    doc = document(api)
    common = frozenset(doc["parameters"]) | {"uploadType", "upload_id", "$alt"}
    for method in part.get("methods", {}).values():
        takes, gives = method.get("request", {}).get("$ref", ""), method.get("response", {}).get("$ref", "")
        parameters = common | frozenset(method.get("parameters", {}))
        path = method.get("flatPath", method["path"])
        one = functools.partial(Method, api, method["id"], method["httpMethod"])
        yield one(f"/{doc['servicePath']}{path}", takes, gives, parameters)
        for protocol in method.get("mediaUpload", {}).get("protocols", {}).values():
            yield one(protocol["path"], "", gives, parameters)
            if protocol["path"].startswith("/upload/") and method["httpMethod"] == "POST":
                yield Method(api, method["id"], "PUT", protocol["path"], "", gives, parameters)
        if method.get("useMediaDownloadService"):
            yield one(f"/download/{doc['servicePath']}{path}", takes, gives, parameters)
    for resource in part.get("resources", {}).values():
        yield from _methods(api, resource)


@functools.cache
def validator(api: str, schema: str, asked: bool) -> jsonschema.Draft202012Validator:
    schemas = {name: _strict(one, asked) for name, one in document(api)["schemas"].items()}
    return jsonschema.Draft202012Validator({"schemas": schemas, "$ref": f"#/schemas/{schema}"})


def _strict(schema: Any, asked: bool) -> Any:
    """JSON schema of a discovery schema; what it does not name may not be there."""
    if "$ref" in schema:
        return {"$ref": f"#/schemas/{schema['$ref']}"}
    found: dict[str, Any] = {}
    if schema.get("type", "any") != "any":
        number = asked and "int64" in schema.get("format", "")  # requests may say 1 for "1"
        found["type"] = ["string", "integer"] if number else schema["type"]
    if "enum" in schema:
        found["enum"] = schema["enum"]
    if "items" in schema:
        found["items"] = _strict(schema["items"], asked)
    if "properties" in schema:
        found["properties"] = {name: _strict(one, asked) for name, one in schema["properties"].items()}
        found["additionalProperties"] = False
    if "additionalProperties" in schema:
        found["additionalProperties"] = _strict(schema["additionalProperties"], asked)
    return found


def without_nulls(value: Any) -> Any:
    """A merge patch says null for "take it away"."""
    if isinstance(value, dict):
        return {key: without_nulls(one) for key, one in value.items() if one is not None}
    return [without_nulls(one) for one in value] if isinstance(value, list) else value


@dataclass
class Inspector:
    """Sits around the APIs and writes down all that their descriptions do not allow."""

    app: ASGIApp
    wrong: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/sandbox/") or scope["path"] == "/token":
            await self.app(scope, receive, send)
            return
        taken, given, code = b"", b"", 0

        async def listen() -> Message:
            nonlocal taken
            message = await receive()
            taken += message.get("body", b"")
            return message

        async def speak(message: Message) -> None:
            nonlocal given, code
            code = message.get("status", code)
            given += message.get("body", b"")
            await send(message)

        await self.app(scope, listen, speak)
        if code != 501:
            path = scope["raw_path"].decode()
            self.check(scope["method"], path, parse_qsl(scope["query_string"].decode()), taken, given, code)

    def check(
        self, http: str, path: str, query: list[tuple[str, str]], taken: bytes, given: bytes, code: int
    ) -> None:
        fitting = [
            one for api in APIS for one in methods(api) if one.http == http and one.pattern.fullmatch(path)
        ]
        if not fitting:
            self.wrong.append(f"{http} {path} is no method of any API")
            return
        method = min(fitting, key=lambda one: one.path.count("{"))
        self.seen.add(method.id)
        where = f"{method.id} {code}"
        if code < 400:
            self.wrong += [
                f"{where}: no parameter {name}" for name, _ in query if name not in method.parameters
            ]
            if method.takes and taken:
                self._validate(f"{where} request", method, method.takes, taken)
        if code < 300 and method.gives and ("alt", "media") not in query and given:
            self._validate(f"{where} response", method, method.gives, given)
        if code >= 400 and code != 499 and given:
            error = json.loads(given)["error"]
            if error["code"] != code or not error["errors"][0]["reason"] or not error["status"]:
                self.wrong.append(f"{where}: {error}")

    def _validate(self, where: str, method: Method, schema: str, body: bytes) -> None:
        for error in validator(method.api, schema, where.endswith("request")).iter_errors(
            without_nulls(json.loads(body))
        ):
            self.wrong.append(f"{where}: {'.'.join(map(str, error.path))}: {error.message[:300]}")
