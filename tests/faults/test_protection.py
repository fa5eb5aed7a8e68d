"""Row 30 and the table in docs/provision.md: each identity tries what it may and what it may not do."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from blocks.cloud_storage import CloudStorage
from blocks.google_api import GoogleApi
from blocks.model_folder import sources_in
from blocks.model_store import ModelStore
from blocks.targets.compute_api import Compute
from blocks.targets.group_api import GroupApi
from releases.problem import Failed, Problem
from releases.provisioning.rights import GROUP_ROLE
from releases.spec import Model
from releases.store import AlreadyExists
from sandbox.world import Settings
from tests.killed_work import Silent
from tests.provisioned import DESCRIBED, Provisioned
from tests.sandbox.conftest import ZONE, eventually, start
from tests.sandbox.test_groups import Managed

MODELS, DATA = DESCRIBED.models_bucket, DESCRIBED.data_bucket
MODEL, CLAIM = "models/iris/v1/model.onnx", "releases/iris/staging/000001.json"
LOG, CURSOR = "logs/segments/1", "aliases/iris/production"
VM = f"/compute/v1/projects/sandbox/zones/{DESCRIBED.zone}/instances/{DESCRIBED.vms[0]}"
SECRET, CERTIFICATE, ACCOUNT = (
    f"/v1/projects/sandbox/secrets/{name}"
    for name in ("database", "staging-iris-tls", "staging-acme-account")
)
FIREWALL = "/compute/v1/projects/sandbox/global/firewalls/staging-services"


@pytest.fixture(scope="module")
def there() -> Iterator[Provisioned]:
    for cloud in start(Settings(pending_seconds=0.002, running_seconds=0.002)):
        one = Provisioned(cloud)
        one.apply()
        for bucket, name in ((MODELS, MODEL), (MODELS, CLAIM), (DATA, LOG), (DATA, CURSOR)):
            put(one, bucket, name).raise_for_status()
        for secret in (SECRET, CERTIFICATE, ACCOUNT, CERTIFICATE, ACCOUNT):
            cloud.call("POST", f"{secret}:addVersion", json={"payload": {"data": "eA=="}}).raise_for_status()
        yield one


@dataclass(frozen=True)
class Attempt:
    """One thing that somebody tries."""

    method: str
    path: str
    body: bytes = b""

    def by(self, there: Provisioned, email: str) -> httpx.Response:
        kind = "application/json" if self.body.startswith(b"{") else "application/octet-stream"
        headers = {**there.as_(email), "Content-Type": kind}
        return there.cloud.call(self.method, self.path, content=self.body, headers=headers)


def put(there: Provisioned, bucket: str, name: str) -> httpx.Response:
    return there.cloud.call("POST", *_upload(bucket, name), content=b"1")


def _upload(bucket: str, name: str, only_new: str = "") -> tuple[str]:
    return (f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name={name.replace('/', '%2F')}{only_new}",)


def read(bucket: str, name: str) -> Attempt:
    return Attempt("GET", f"/storage/v1/b/{bucket}/o/{name.replace('/', '%2F')}?alt=media")


def create(bucket: str, name: str) -> Attempt:
    return Attempt("POST", *_upload(bucket, name, "&ifGenerationMatch=0"), b"new")


def overwrite(bucket: str, name: str) -> Attempt:
    return Attempt("POST", *_upload(bucket, name), b"other")


def delete(bucket: str, name: str) -> Attempt:
    return Attempt("DELETE", f"/storage/v1/b/{bucket}/o/{name.replace('/', '%2F')}")


def bucket(method: str, name: str) -> Attempt:
    return Attempt(
        method, f"/storage/v1/b/{name}", b'{"retentionPolicy": null}' if method == "PATCH" else b""
    )


DESCRIBE_VM = Attempt("GET", VM)
TELL_VM = Attempt("POST", f"{VM}/setMetadata", b'{"fingerprint": "stale"}')
DELETE_VM = Attempt("DELETE", VM)
STOP_VM = Attempt("POST", f"{VM}/stop")
OPEN_FIREWALL = Attempt("PATCH", FIREWALL, b'{"sourceRanges": ["0.0.0.0/0"]}')
READ_SECRET, READ_CERTIFICATE, READ_ACCOUNT = (
    Attempt("GET", f"{secret}/versions/1:access") for secret in (SECRET, CERTIFICATE, ACCOUNT)
)
KNOW_SECRET = Attempt("GET", f"{SECRET}/versions/1")
WRITE_SECRET, WRITE_CERTIFICATE, WRITE_ACCOUNT = (
    Attempt("POST", f"{secret}:addVersion", b'{"payload": {"data": "eA=="}}')
    for secret in (SECRET, CERTIFICATE, ACCOUNT)
)
DESTROY_CERTIFICATE, DESTROY_ACCOUNT = (
    Attempt("POST", f"{secret}/versions/2:destroy", b"{}") for secret in (CERTIFICATE, ACCOUNT)
)
PROJECT_RIGHTS = Attempt("POST", "/v3/projects/sandbox:setIamPolicy", b'{"policy": {}}')
BUCKET_RIGHTS = Attempt("PUT", f"/storage/v1/b/{MODELS}/iam", b'{"bindings": []}')

MAY = {
    DESCRIBED.node: [
        read(MODELS, MODEL),
        create(DATA, "logs/segments/2"),
        READ_SECRET,
        READ_CERTIFICATE,
    ],
    DESCRIBED.deployer: [
        read(MODELS, MODEL),
        create(MODELS, "models/iris/v2/model.onnx"),
        read(MODELS, CLAIM),
        create(MODELS, "releases/iris/staging/000002.json"),
        read(DATA, LOG),
        overwrite(DATA, CURSOR),
        delete(DATA, LOG),
        KNOW_SECRET,
        READ_CERTIFICATE,
        WRITE_CERTIFICATE,
        READ_ACCOUNT,
        WRITE_ACCOUNT,
        DESTROY_CERTIFICATE,
        DESCRIBE_VM,
    ],
    DESCRIBED.builder: [],
}
ALL = [
    read(MODELS, MODEL),
    create(MODELS, "models/iris/v3/model.onnx"),
    overwrite(MODELS, MODEL),
    delete(MODELS, MODEL),
    read(MODELS, CLAIM),
    create(MODELS, "releases/iris/staging/000003.json"),
    overwrite(MODELS, CLAIM),
    delete(MODELS, CLAIM),
    read(DATA, CURSOR),
    create(DATA, "logs/segments/3"),
    create(DATA, "reports/1"),
    overwrite(DATA, CURSOR),
    delete(DATA, CURSOR),
    bucket("PATCH", MODELS),
    bucket("DELETE", MODELS),
    BUCKET_RIGHTS,
    PROJECT_RIGHTS,
    READ_SECRET,
    KNOW_SECRET,
    WRITE_SECRET,
    READ_CERTIFICATE,
    WRITE_CERTIFICATE,
    READ_ACCOUNT,
    WRITE_ACCOUNT,
    DESTROY_CERTIFICATE,
    DESTROY_ACCOUNT,
    DESCRIBE_VM,
    TELL_VM,
    STOP_VM,
    DELETE_VM,
    OPEN_FIREWALL,
]
MAY_NOT = {
    DESCRIBED.node: [
        one for one in ALL if one not in {*MAY[DESCRIBED.node], create(DATA, "logs/segments/3")}
    ],
    DESCRIBED.deployer: [
        overwrite(MODELS, MODEL),
        delete(MODELS, MODEL),
        overwrite(MODELS, CLAIM),
        delete(MODELS, CLAIM),
        bucket("PATCH", MODELS),
        bucket("DELETE", MODELS),
        BUCKET_RIGHTS,
        PROJECT_RIGHTS,
        READ_SECRET,
        WRITE_SECRET,
        DESTROY_ACCOUNT,
        STOP_VM,
        DELETE_VM,
        OPEN_FIREWALL,
    ],
    DESCRIBED.builder: ALL,
}


@pytest.mark.parametrize("email", sorted(MAY))
@pytest.mark.fault(30)
def test_who_may_do_what(there: Provisioned, email: str) -> None:
    for attempt in MAY[email]:
        assert attempt.by(there, email).is_success, attempt
    for attempt in MAY_NOT[email]:
        answer = attempt.by(there, email)
        assert answer.status_code == 403, (attempt, answer.text)
        assert "Permission '" in answer.json()["error"]["message"]


def test_the_deployer_tells_its_own_vms_and_no_others(there: Provisioned) -> None:
    # The stale fingerprint is refused after the right was found.
    assert TELL_VM.by(there, DESCRIBED.deployer).status_code == 412
    other = Attempt("POST", VM.replace("staging-node-1", "production-node-1") + "/setMetadata", b"{}")
    assert other.by(there, DESCRIBED.deployer).status_code == 403


def test_the_deployer_of_a_group_tells_it_what_to_run_and_no_longer_once_it_has_none(
    there: Provisioned, tmp_path: Path
) -> None:
    made = Managed(there.cloud, regional=False)
    made.create(1)
    (tmp_path / "token").write_text(there.as_(DESCRIBED.deployer)["Authorization"].partition(" ")[2])
    group = GroupApi(
        Compute(GoogleApi(endpoint=there.cloud.at.api, access_token_file=tmp_path / "token"), "sandbox"),
        "g",
        ZONE,
        None,
    )
    with pytest.raises(Failed, match=r"compute\.instanceGroupManagers\.update") as refused:
        group.set_metadata(group.read(), {"model-deploy": "{}"})
    assert refused.value.next_step.endswith("model-deploy provision")
    of_group = DESCRIBED.machines.model_copy(update={"group": True})
    added = there.apply(machines=of_group)
    assert {str(one.key) for one in added.todo} == {f"role {GROUP_ROLE}", "rights project sandbox"}
    group.set_metadata(group.read(), {"model-deploy": "{}"})
    group.apply(list(group.members()))
    eventually(lambda: made.seen()[0].get("model-deploy") == "{}")
    assert Attempt("DELETE", f"/compute/v1/{group.path}").by(there, DESCRIBED.deployer).status_code == 403
    assert not there.plan(machines=of_group).todo
    assert [str(one.key) for one in there.apply().todo] == ["rights project sandbox"]
    with pytest.raises(Failed, match="may not"):
        group.set_metadata(group.read(), {})


def test_not_even_the_owner_deletes_a_model_too_early(there: Provisioned) -> None:
    for attempt in (delete(MODELS, MODEL), overwrite(MODELS, MODEL)):
        answer = there.cloud.call(attempt.method, attempt.path, content=attempt.body)
        assert answer.status_code == 403
        assert answer.json()["error"]["errors"][0]["reason"] == "retentionPolicyNotMet"
    there.cloud.pass_time(DESCRIBED.keep.models * 24 * 3600 + 1)
    late = delete(MODELS, MODEL)
    assert late.by(there, DESCRIBED.deployer).status_code == 403


def test_the_flows_own_store_works_with_the_deployers_rights(there: Provisioned, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(there.as_(DESCRIBED.deployer)["Authorization"].partition(" ")[2])
    store = CloudStorage(
        bucket=MODELS,
        data_bucket=DATA,
        access_token_file=tmp_path / "token",
        endpoint=there.cloud.at.api,
    )
    claim, alias = "releases/iris/staging/000009.json", "aliases/models/iris/candidate"
    store.create(claim, b"1")
    store.create(claim, b"1")
    with pytest.raises(AlreadyExists):
        store.create(claim, b"2")
    with pytest.raises(Problem, match=r"storage\.objects\.delete"):
        store.remove(claim)
    generation = store.replace(alias, b"v1", 0)
    store.replace(alias, b"v2", generation)
    assert store.read(alias)[0] == b"v2"
    assert list(store.list("releases/iris/staging/000009")) == [claim]
    assert list(store.list("aliases/models/")) == [alias]
    assert claim in there.cloud.world.buckets[MODELS].objects
    assert alias in there.cloud.world.buckets[DATA].objects


def test_models_are_published_and_named_with_the_deployers_rights(there: Provisioned, tmp_path: Path) -> None:
    """Killed before its manifest and run again included: nothing needs to be overwritten or deleted."""
    (tmp_path / "token").write_text(there.as_(DESCRIBED.deployer)["Authorization"].partition(" ")[2])
    store = CloudStorage(
        bucket=MODELS,
        data_bucket=DATA,
        access_token_file=tmp_path / "token",
        endpoint=there.cloud.at.api,
    )
    models, wanted = ModelStore(store), Model(name="churn", version="v1")
    weights = tmp_path / "weights.bin"
    weights.write_bytes(b"of a publish that was killed")
    left = models.publish(wanted.model_copy(update={"version": "v9"}), sources_in(weights), Silent())
    store.upload(f"models/churn/v1/{left.manifest.files[0].key_part}", weights)
    weights.write_bytes(b"weights")
    made = models.publish(wanted, sources_in(weights), Silent())
    assert models.publish(wanted, sources_in(weights), Silent()) == made
    models.point("churn", "production", "v9")
    assert models.point("churn", "production", "v1") == "v9"
    models.download_whole(models.get("churn", "production"), tmp_path / "got", Silent())
    assert (tmp_path / "got" / "weights.bin").read_bytes() == b"weights"
