"""Provisioning on the sandbox: applied, applied again, drifted, killed half-way, refused."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from releases.problem import Failed, Refused, Unreachable
from releases.provisioning.gcloud_by_hand import by_hand
from releases.provisioning.wanted import Action
from sandbox.server import running
from sandbox.world import Settings, World
from tests.provisioned import DESCRIBED, Provisioned
from tests.sandbox.conftest import Cloud, start
from tests.sandbox.discovery import Inspector

FAST = Settings(pending_seconds=0.002, running_seconds=0.002)
MODELS = f"/storage/v1/b/{DESCRIBED.models_bucket}"
DATA = f"/storage/v1/b/{DESCRIBED.data_bucket}"
NODE = f"serviceAccount:{DESCRIBED.node}"
VM = ("sandbox", DESCRIBED.zone, DESCRIBED.vms[0])
COMPUTE = "/compute/v1/projects/sandbox"
DEADLY_WRITES = (3, 14, 25)
KILLED = """
import json, sys
from google.oauth2.credentials import Credentials
from blocks.provisioning.google_rest import GoogleRest
from blocks.provisioning.provisioner import Provisioner
from releases.provisioning.described import CloudEnvironment
described, api, token = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]
cloud = CloudEnvironment.model_validate(described)
provisioner = Provisioner(GoogleRest(Credentials(token), api, cloud.project), cloud)
for change in provisioner.plan().todo:
    provisioner.bring(change.wanted)
"""


@pytest.fixture(scope="module")
def applied() -> Iterator[Provisioned]:
    """One environment for all that only changes it and brings it back."""
    for cloud in start(FAST):
        there = Provisioned(cloud)
        there.apply()
        yield there


@pytest.fixture
def fresh() -> Iterator[Provisioned]:
    for cloud in start(FAST):
        yield Provisioned(cloud)


def test_a_second_apply_does_nothing(applied: Provisioned) -> None:
    made = applied.plan()
    assert {one.action for one in made.changes} == {Action.unchanged}
    assert len(made.changes) == 33
    vm = applied.cloud.world.instances[VM].resource
    assert vm["machineType"].endswith("/e2-standard-4")
    assert vm["disks"][0]["diskSizeGb"] == "50"
    assert "accessConfigs" not in vm["networkInterfaces"][0]
    assert vm["serviceAccounts"][0]["email"] == DESCRIBED.node
    metadata = applied.cloud.world.instances[VM].metadata()
    assert metadata["enable-guest-attributes"] == "TRUE"
    assert metadata["google-logging-enabled"] == "true"
    assert metadata["user-data"].startswith("#cloud-config")


def patch(path: str, body: Any) -> Callable[[Cloud], Any]:
    return lambda cloud: cloud.call("PATCH", path, json=body).raise_for_status()


def post(path: str, body: Any = None) -> Callable[[Cloud], Any]:
    return lambda cloud: cloud.call("POST", path, json=body or {}).raise_for_status()


def grant(path: str, role: str, member: str) -> Callable[[Cloud], Any]:
    def granted(cloud: Cloud) -> None:
        policy = cloud.call("GET", f"{path}/iam", params={"optionsRequestedPolicyVersion": 3}).json()
        policy["bindings"].append({"role": role, "members": [member, "group:owners@acme.com"]})
        cloud.call("PUT", f"{path}/iam", json={**policy, "version": 3}).raise_for_status()

    return granted


def nobody(path: str) -> Callable[[Cloud], Any]:
    return lambda cloud: cloud.call("PUT", f"{path}/iam", json={"bindings": []}).raise_for_status()


def metadata(cloud: Cloud) -> None:
    vm = cloud.world.instances[VM]
    vm.put_metadata({"user-data": "#cloud-config\n# mine\n", "model-deploy": "{}"})


def stopped(cloud: Cloud) -> None:
    cloud.world.instances[VM].resource["status"] = "TERMINATED"


IAM = "/v1/projects/sandbox"
POOL = f"{IAM}/locations/global/workloadIdentityPools/{DESCRIBED.pool}"
DRIFT: list[tuple[Callable[[Cloud], Any], str, str]] = [
    (
        patch(MODELS, {"iamConfiguration": {"uniformBucketLevelAccess": {"enabled": False}}}),
        f"bucket {DESCRIBED.models_bucket}",
        "iamConfiguration.uniformBucketLevelAccess.enabled",
    ),
    (
        patch(MODELS, {"iamConfiguration": {"publicAccessPrevention": "inherited"}}),
        f"bucket {DESCRIBED.models_bucket}",
        "iamConfiguration.publicAccessPrevention",
    ),
    (patch(MODELS, {"retentionPolicy": None}), f"bucket {DESCRIBED.models_bucket}", "retentionPolicy"),
    (
        patch(MODELS, {"softDeletePolicy": {"retentionDurationSeconds": "0"}}),
        f"bucket {DESCRIBED.models_bucket}",
        "softDeletePolicy.retentionDurationSeconds",
    ),
    (patch(DATA, {"versioning": {"enabled": False}}), f"bucket {DESCRIBED.data_bucket}", "versioning.enabled"),
    (patch(DATA, {"lifecycle": None}), f"bucket {DESCRIBED.data_bucket}", "lifecycle"),
    (grant(MODELS, "roles/storage.admin", NODE), f"rights bucket {DESCRIBED.models_bucket}", f"roles/storage.admin to {NODE}"),
    (nobody(DATA), f"rights bucket {DESCRIBED.data_bucket}", "roles/storage.objectUser to"),
    (
        patch(f"{COMPUTE}/global/firewalls/staging-services", {"sourceRanges": ["0.0.0.0/0"]}),
        "firewall staging-services",
        "sourceRanges",
    ),
    (metadata, f"vm {VM[2]}", "metadata.user-data"),
    (stopped, f"vm {VM[2]}", "status"),
    (post(f"{IAM}/serviceAccounts/{DESCRIBED.node}:disable"), f"account {DESCRIBED.node}", "disabled"),
    (
        patch(f"{IAM}/roles/modelDeployDeployer", {"includedPermissions": ["compute.instances.delete"]}),
        "role modelDeployDeployer",
        "includedPermissions",
    ),
    (
        patch(f"{IAM}/locations/europe-west1/repositories/model-deploy", {"cleanupPolicies": {}}),
        "repository model-deploy",
        "cleanupPolicies.keep-released",
    ),
    (
        patch(f"{POOL}/providers/github?updateMask=attributeCondition", {"attributeCondition": "true"}),
        f"provider {DESCRIBED.pool}/github",
        "attributeCondition",
    ),
    (
        post(f"{COMPUTE}/regions/europe-west1/subnetworks/default/setPrivateIpGoogleAccess"),
        "subnetwork default",
        "privateIpGoogleAccess",
    ),
]  # fmt: skip


def test_drift_is_seen_and_mended(applied: Provisioned) -> None:
    for drift, _, _ in DRIFT:
        drift(applied.cloud)
    wait_for_operations(applied)
    made = applied.apply()
    seen = {(str(one.key), field.path) for one in made.todo for field in one.fields}
    for _, key, path in DRIFT:
        assert any(one == key and field.startswith(path) for one, field in seen), (key, path)
    assert {key for key, _ in seen} == {key for _, key, _ in DRIFT}
    assert applied.todo() == []


def wait_for_operations(there: Provisioned) -> None:
    from tests.sandbox.conftest import eventually

    operations = there.cloud.world.operations
    eventually(lambda: all(one.resource["status"] == "DONE" for one in list(operations.values())), 60)


def test_what_others_have_said_stays(applied: Provisioned) -> None:
    grant(MODELS, "roles/storage.objectViewer", "user:auditor@acme.com")(applied.cloud)
    applied.cloud.world.instances[VM].put_metadata({"model-deploy": "desired", "user-data": "changed"})
    applied.apply()
    assert applied.cloud.world.instances[VM].metadata()["model-deploy"] == "desired"
    policy = applied.cloud.world.buckets[DESCRIBED.models_bucket].policy
    assert any("user:auditor@acme.com" in one["members"] for one in policy["bindings"])


def test_what_costs_an_outage_is_left_to_people(applied: Provisioned) -> None:
    vm = applied.cloud.world.instances[VM].resource
    before, vm["machineType"] = vm["machineType"], f"{vm['machineType']}-old"
    (change,) = [one for one in applied.plan().changes if one.action is not Action.unchanged]
    assert change.action is Action.by_hand
    assert list(by_hand(DESCRIBED, change)) == [
        (
            f"gcloud compute instances set-machine-type {VM[2]} --zone=europe-west1-b"
            " --machine-type=e2-standard-4 --project=sandbox"
        )
    ]
    applied.apply()
    assert vm["machineType"].endswith("-old")
    vm["machineType"] = before


def test_a_deleted_vm_comes_back(applied: Provisioned) -> None:
    applied.cloud.call("DELETE", f"{COMPUTE}/zones/{VM[1]}/instances/{VM[2]}").raise_for_status()
    wait_for_operations(applied)
    assert applied.todo() == [f"vm {VM[2]}"]
    applied.apply()
    assert applied.cloud.world.instances[VM].status == "RUNNING"


def test_killed_after_any_write_it_goes_on_where_it_was() -> None:
    """SIGKILL as soon as the n-th write is done, then again; no resource is made twice."""
    made: list[str] = []
    child: list[subprocess.Popen[bytes]] = []
    writes = 0

    class Deadly(Inspector):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            nonlocal writes
            await super().__call__(scope, receive, send)
            reads = scope["method"] == "GET" or scope["path"].endswith(":getIamPolicy")
            if child and not reads:
                writes += 1
                if writes in DEADLY_WRITES:
                    os.kill(child[0].pid, signal.SIGKILL)

        def check(self, http: str, path: str, *rest: Any) -> None:
            super().check(http, path, *rest)
            if http == "POST" and rest[-1] < 300 and ":" not in path.rpartition("/")[2]:
                body = json.loads(rest[1] or b"{}")
                made.append(f"{path} {body.get('name') or body.get('accountId') or rest[0]}")

    world = World(FAST)
    watched: list[Deadly] = []

    def watch(app: Any) -> Any:
        watched.append(Deadly(app))
        return watched[0]

    with running(world, wrap=watch) as at:
        arguments = [sys.executable, "-c", KILLED, DESCRIBED.model_dump_json(), at.api, at.token]
        kills = 0
        for _ in range(len(DEADLY_WRITES) + 1):
            child[:] = [subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)]
            if child[0].wait(timeout=120) == 0:
                break
            kills += 1
        child.clear()
        there = Provisioned(Cloud(world, at))
        assert there.todo() == []
    assert kills == len(DEADLY_WRITES)
    assert not watched[0].wrong
    assert len(made) == len(set(made))


BAD_MOMENTS = [
    ("conflict", "POST", "*/serviceAccounts"),
    ("rate_limit", "POST", "*/serviceAccounts"),
    ("lost_response", "POST", "*/serviceAccounts"),
    ("lost_request", "GET", "*/serviceAccounts/*"),
    ("unavailable", "GET", "*/serviceAccounts/*"),
    ("internal", "POST", "*:setIamPolicy"),
    ("conflict", "POST", "*:setIamPolicy"),
    ("condition", "PUT", "*/iam"),
    ("lost_response", "POST", "*/repositories"),
    ("lost_response", "POST", "*/instances"),
    ("lost_response", "POST", "*/storage/v1/b"),
    ("unavailable", "GET", "*/operations/*"),
]


def test_a_bad_day_passes(fresh: Provisioned) -> None:
    for kind, method, path in BAD_MOMENTS:
        fresh.cloud.fault(kind, method=method, path=path)
    fresh.apply()
    assert fresh.cloud.world.faults == []
    assert fresh.todo() == []
    assert len(fresh.cloud.world.instances) == 1


def test_what_google_refuses_is_said_with_its_remedy(fresh: Provisioned) -> None:
    fresh.patience = 0.5
    fresh.cloud.fault("quota", method="POST", path="*/instances")
    with pytest.raises(Refused, match=rf"create vm {VM[2]}: a quota is used up"):
        fresh.apply()
    fresh.cloud.fault(
        "operation_error", method="POST", path="*/instances", code="ZONE_RESOURCE_POOL_EXHAUSTED"
    )
    with pytest.raises(Failed, match=rf"create vm {VM[2]}.*\n.*ZONE_RESOURCE_POOL_EXHAUSTED"):
        fresh.apply()
    fresh.cloud.fault("rate_limit", method="POST", path="*/instances", count=None)
    with pytest.raises(Unreachable, match="Google does not answer"):
        fresh.apply()
    fresh.cloud.call("DELETE", "/sandbox/faults")
    fresh.apply()
    assert fresh.todo() == []
    with pytest.raises(Refused) as refused:
        fresh.provisioner("user:intern@acme.com").plan()
    assert "storage.buckets.get" in str(refused.value) or "secretmanager.secrets.get" in str(refused.value)
    assert "gcloud projects add-iam-policy-binding sandbox" in refused.value.next_step


def test_a_role_that_was_deleted_is_named(applied: Provisioned) -> None:
    applied.cloud.call("DELETE", f"{IAM}/roles/modelDeployDeployer").raise_for_status()
    (change,) = applied.plan().left_to_people
    assert list(by_hand(DESCRIBED, change)) == [
        "gcloud iam roles undelete modelDeployDeployer --project=sandbox"
    ]
    applied.cloud.call("POST", f"{IAM}/roles/modelDeployDeployer:undelete", json={}).raise_for_status()
    assert applied.todo() == []
