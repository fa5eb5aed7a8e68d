"""A refused login is told apart from whatever else has a 401 in it."""

import pytest

from blocks.registry_answers import is_absent, is_denied


@pytest.mark.parametrize(
    "said",
    [
        "received unexpected HTTP status: 403 Forbidden",
        "unexpected status from POST request to https://example.com/v2/x/blobs/uploads/: 401 Unauthorized",
        "unauthorized: authentication required",
        "denied: requested access to the resource is denied",
        "error parsing HTTP 403 response body: unexpected end of JSON input",
    ],
)
def test_a_refusal_is_known(said: str) -> None:
    assert is_denied(said)


@pytest.mark.parametrize(
    "said",
    [
        'Patch "http://localhost:40123/v2/x/blobs/uploads/1": read: connection reset by peer',
        "dial tcp 10.0.0.1:403: i/o timeout",
        'Put "http://localhost:5000/v2/x/blobs/uploads/8f0e401c-403a-4d1e-401b-12ab403cd401": EOF',
        "layer sha256:401f403 was cut",
        "received unexpected HTTP status: 503 Service Unavailable",
    ],
)
def test_digits_elsewhere_are_no_refusal(said: str) -> None:
    assert not is_denied(said)


def test_an_image_that_does_not_exist_is_known() -> None:
    assert is_absent("manifest for localhost:5000/x:1 not found: manifest unknown: manifest unknown")
    assert is_absent(
        "pull access denied for nothing, repository does not exist or may require 'docker login'"
    )
    assert is_absent('failed to resolve reference "docker.io/library/x:1": docker.io/library/x:1: not found')
    assert not is_absent("lookup example.invalid: no such host")
    assert not is_absent('exec: "docker-credential-x": executable file not found in $PATH')
