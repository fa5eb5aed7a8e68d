"""The receiver's OpenAPI. The body is read raw, for the signature, so FastAPI cannot know it by itself."""

from typing import Any

from fastapi import FastAPI

from deployments.webhook.answer import Answer, Health
from deployments.webhook.payload import PushPayload

_REF = "#/components/schemas/{model}"


def _header(name: str, pattern: str, description: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": True,
        "description": description,
        "schema": {"type": "string", "pattern": pattern},
    }


DELIVERY: dict[str, Any] = {
    "response_model": Answer,
    "responses": {
        200: {"description": "A ping, or ignored: the reason says why."},
        202: {"model": Answer, "description": "Taken. With the runs that Prefect has stored by now."},
        400: {"model": Answer, "description": "No JSON, or a header is missing."},
        401: {"model": Answer, "description": "The signature is missing or wrong."},
        408: {"model": Answer, "description": "The body does not arrive."},
        413: {"model": Answer, "description": "Larger than GitHub sends."},
        415: {"model": Answer, "description": "Not application/json."},
        422: {"model": Answer, "description": "JSON, but no push."},
        503: {
            "model": Answer,
            "description": "Not taken; send it again.",
            "headers": {"Retry-After": {"schema": {"type": "string"}}},
        },
    },
    "openapi_extra": {
        "parameters": [
            _header("X-GitHub-Event", "^[a-z0-9_]{1,64}$", "The kind of event."),
            _header("X-GitHub-Delivery", "^[0-9A-Za-z-]{1,64}$", "The same when GitHub sends it again."),
            _header("X-Hub-Signature-256", "^sha256=[0-9a-f]{64}$", "HMAC-SHA256 over the raw body."),
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": _REF.format(model="PushPayload")}}},
        },
    },
}
HEALTH: dict[str, Any] = {
    "response_model": Health,
    "responses": {503: {"model": Health, "description": "Deliveries are answered 503."}},
}


def describe(app: FastAPI) -> None:
    """Add the payload's schema, and make the description once."""
    schema = PushPayload.model_json_schema(ref_template=_REF)
    whole = app.openapi()
    parts = schema.pop("$defs")
    whole["components"]["schemas"] |= {**parts, "PushPayload": schema}
