"""Whatever may be sent by the receiver's own description, and what may not: it never breaks."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from requests import PreparedRequest
from requests.auth import AuthBase
from schemathesis import GenerationMode

from deployments.webhook.signature import sign
from tests.deployments.conftest import Receiver, delivery_id, push

# The server is as it is: what it stored in one example does not matter in the next.
CALM = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


HEADERS = {"X-GitHub-Event", "X-GitHub-Delivery", "X-Hub-Signature-256"}


@pytest.fixture(scope="module")
def operations(receiver: Receiver) -> dict[str, Any]:
    # Not by schemathesis' own fixture: it touches a field that pytest 9 no longer has.
    schema = schemathesis.openapi.from_url(f"{receiver.url}/openapi.json")
    return {found.ok().label: found.ok() for found in schema.get_all_operations()}


@pytest.mark.parametrize(
    ("operation", "mode"),
    [
        ("POST /webhooks/github", GenerationMode.POSITIVE),
        ("POST /webhooks/github", GenerationMode.NEGATIVE),
        ("GET /healthz", GenerationMode.POSITIVE),  # it takes nothing that could be wrong
    ],
)
def test_what_is_sent_by_somebody_without_the_secret(
    operations: dict[str, Any], operation: str, mode: GenerationMode
) -> None:
    @CALM
    @given(case=operations[operation].as_strategy(generation_mode=mode))
    def every(case: Any) -> None:
        case.call_and_validate(timeout=20)

    every()


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_what_is_sent_by_somebody_with_the_secret(
    operations: dict[str, Any], receiver: Receiver, mode: GenerationMode
) -> None:
    """The event a push, rightly signed: what fits the description is taken, what does not is refused."""

    given_by_github = dict.fromkeys(HEADERS, "given by AsGitHub")
    cases = operations["POST /webhooks/github"].as_strategy(generation_mode=mode, headers=given_by_github)

    @CALM
    @given(case=cases)
    def every(case: Any) -> None:
        case.call_and_validate(timeout=20, auth=AsGitHub(receiver.secret))

    every()


class AsGitHub(AuthBase):
    """Gives a request what GitHub gives it, when its body is known."""

    def __init__(self, secret: str) -> None:
        self.secret = secret

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        body = request.body or b""
        content = body.encode() if isinstance(body, str) else body
        request.headers["X-GitHub-Event"] = "push"
        request.headers["X-GitHub-Delivery"] = delivery_id()
        request.headers["X-Hub-Signature-256"] = sign(self.secret, content)
        return request


def test_the_description_is_whole(receiver: Receiver) -> None:
    described = receiver.client.get(f"{receiver.url}/openapi.json").json()
    operation = described["paths"]["/webhooks/github"]["post"]
    assert {parameter["name"] for parameter in operation["parameters"]} == HEADERS
    assert set(described["components"]["schemas"]["PushPayload"]["required"]) <= set(push())
