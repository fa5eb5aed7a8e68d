"""Faults on demand, as clients meet them."""

import time

import httpx
import pytest
from google.api_core import exceptions
from google.cloud import compute_v1 as compute

from tests.sandbox.conftest import ZONE, Cloud, instance
from tests.sandbox.test_metadata import FLAVOR


@pytest.mark.parametrize(
    ("kind", "code", "reason"),
    [
        ("forbidden", 403, "forbidden"),
        ("quota", 403, "quotaExceeded"),
        ("conflict", 409, "resourceInUse"),
        ("condition", 412, "conditionNotMet"),
        ("rate_limit", 429, "rateLimitExceeded"),
        ("internal", 500, "backendError"),
        ("unavailable", 503, "backendError"),
    ],
)
def test_an_answer_as_often_as_asked_for(cloud: Cloud, kind: str, code: int, reason: str) -> None:
    path = f"/compute/v1/projects/{cloud.project}"
    cloud.fault(kind, method="GET", path="/compute/*", count=2)
    for _ in range(2):
        answer = cloud.call("GET", path)
        assert (answer.status_code, answer.json()["error"]["errors"][0]["reason"]) == (code, reason)
    assert cloud.call("GET", path).status_code == 200


def test_only_what_matches_is_hit(cloud: Cloud) -> None:
    cloud.fault("unavailable", method="POST", path="*/setMetadata", count=None)
    assert cloud.call("GET", f"/compute/v1/projects/{cloud.project}").status_code == 200
    path = f"/compute/v1/projects/{cloud.project}/zones/{ZONE}/instances/a/setMetadata"
    assert [cloud.call("POST", path, json={}).status_code for _ in range(3)] == [503] * 3
    waiting = cloud.call("GET", "/sandbox/faults").json()["faults"]
    assert (waiting[0]["hits"], waiting[0]["count"]) == (3, None)
    cloud.call("DELETE", f"/sandbox/faults/{waiting[0]['id']}")
    assert cloud.call("POST", path, json={}).status_code == 404


def test_latency(cloud: Cloud) -> None:
    cloud.fault("latency", seconds=0.5)
    begun = time.monotonic()
    assert cloud.call("GET", f"/compute/v1/projects/{cloud.project}").status_code == 200
    assert time.monotonic() - begun >= 0.5


def test_an_operation_ends_in_an_error_and_leaves_no_effect(cloud: Cloud) -> None:
    cloud.fault(
        "operation_error", method="POST", path="*/instances", code="QUOTA_EXCEEDED", message="no CPUs"
    )
    client = cloud.client(compute.InstancesClient)
    ended = cloud.done(client.insert_unary(project=cloud.project, zone=ZONE, instance_resource=instance("a")))
    assert [(error.code, error.message) for error in ended.error.errors] == [("QUOTA_EXCEEDED", "no CPUs")]
    with pytest.raises(exceptions.NotFound):
        client.get(project=cloud.project, zone=ZONE, instance="a")
    vm = cloud.vm("b")
    cloud.fault("operation_error", path="*/setMetadata")
    which = {"project": cloud.project, "zone": ZONE, "instance": "b"}
    wanted = compute.Metadata(fingerprint=vm.metadata.fingerprint, items=[compute.Items(key="a", value="1")])
    assert cloud.done(client.set_metadata_unary(**which, metadata_resource=wanted)).error.errors
    # The fingerprint from before is good again.
    assert not cloud.done(client.set_metadata_unary(**which, metadata_resource=wanted)).error.errors


def test_a_lost_answer_comes_after_the_effect_and_a_lost_request_before(cloud: Cloud) -> None:
    client = cloud.client(compute.InstancesClient)
    cloud.fault("lost_response", method="POST", path="*/instances")
    with pytest.raises(Exception, match="Connection aborted"):
        client.insert_unary(project=cloud.project, zone=ZONE, instance_resource=instance("a"), timeout=5)
    assert client.get(project=cloud.project, zone=ZONE, instance="a").name == "a"
    cloud.fault("lost_request", method="POST", path="*/instances")
    with pytest.raises(Exception, match="Connection aborted"):
        client.insert_unary(project=cloud.project, zone=ZONE, instance_resource=instance("b"), timeout=5)
    with pytest.raises(exceptions.NotFound):
        client.get(project=cloud.project, zone=ZONE, instance="b")


def test_one_vms_metadata_server_goes_away(cloud: Cloud) -> None:
    one, other = cloud.vm("one"), cloud.vm("other")
    cloud.fault("unavailable", vm="one", count=1)
    codes = [
        httpx.get(f"{cloud.on(vm)}/instance/name", headers=FLAVOR).status_code for vm in (other, one, one)
    ]
    assert codes == [200, 503, 200]


def test_a_fault_that_is_no_fault_is_refused(cloud: Cloud) -> None:
    for wrong in ({"kind": "gremlins"}, {"kind": "quota", "cuont": 3}, {}):
        assert cloud.call("POST", "/sandbox/faults", json=wrong).status_code == 400
