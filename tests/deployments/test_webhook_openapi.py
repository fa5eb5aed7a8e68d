"""Whatever may be sent by the receiver's own description, and what may not: it never breaks."""

import json
from typing import Any

import pytest
import schemathesis
from hypothesis import settings
from schemathesis.checks import not_a_server_error

from deployments.webhook.signature import sign
from tests.deployments.conftest import Receiver, delivery_id, push


@pytest.fixture
def api(receiver: Receiver) -> Any:
    return schemathesis.openapi.from_url(f"{receiver.url}/openapi.json")


schema = schemathesis.pytest.from_fixture("api")


@schema.parametrize()
@settings(max_examples=60, deadline=None)
def test_nobody_knows_the_secret(case: Any) -> None:
    case.call_and_validate(timeout=20)


@schema.include(path="/webhooks/github").parametrize()
@settings(max_examples=60, deadline=None)
def test_github_itself_sends_it(case: Any, receiver: Receiver) -> None:
    """Signed rightly, the event a push: what fits the schema is taken, what does not is refused."""
    if case.method != "POST":
        case.call_and_validate(timeout=20)
        return
    body = b"" if not isinstance(case.body, (dict, list, str, int, float, bool, type(None))) else case.body
    content = json.dumps(body).encode() if not isinstance(body, bytes) else body
    headers = {
        "Content-Type": "application/json",
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": delivery_id(),
        "X-Hub-Signature-256": sign(receiver.secret, content),
    }
    answer = receiver.client.post(f"{receiver.url}/webhooks/github", content=content, headers=headers)
    case.validate_response(answer, checks=[not_a_server_error])
    positive = (
        case.meta is not None and case.meta.components.get("body", case.meta.generation).mode.is_positive
    )
    if positive and isinstance(case.body, dict):
        assert answer.status_code in {200, 202}, answer.text


def test_the_description_is_whole(receiver: Receiver) -> None:
    described = receiver.client.get(f"{receiver.url}/openapi.json").json()
    operation = described["paths"]["/webhooks/github"]["post"]
    assert {parameter["name"] for parameter in operation["parameters"]} == {
        "X-GitHub-Event",
        "X-GitHub-Delivery",
        "X-Hub-Signature-256",
    }
    assert set(described["components"]["schemas"]["PushPayload"]["required"]) <= set(push())
