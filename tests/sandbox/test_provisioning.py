"""What provisioning asks of the other APIs, by Google's own client libraries."""

from typing import Any

import google_auth_httplib2
import httplib2
import pytest
from google.api_core import exceptions
from google.cloud import secretmanager_v1 as secretmanager
from google.oauth2.credentials import Credentials
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError

from tests.sandbox.conftest import Cloud, eventually

READER = "serviceAccount:vm-runs@sandbox.iam.gserviceaccount.com"
PLACE = "projects/sandbox/locations/europe-west1"


def service(cloud: Cloud, name: str, version: str = "v1") -> Any:
    credentials = google_auth_httplib2.AuthorizedHttp(
        Credentials(cloud.at.token), http=httplib2.Http(timeout=20)
    )
    options = {"api_endpoint": cloud.at.api}
    return build(name, version, http=credentials, client_options=options, cache_discovery=False)


def secrets(cloud: Cloud, token: str = "") -> secretmanager.SecretManagerServiceClient:
    return secretmanager.SecretManagerServiceClient(
        credentials=Credentials(token or cloud.at.token),
        transport="rest",
        client_options={"api_endpoint": cloud.at.api},
    )


def test_secrets_have_versions_and_readers(cloud: Cloud) -> None:
    client = secrets(cloud)
    replication = secretmanager.Replication(automatic=secretmanager.Replication.Automatic())
    secret = secretmanager.Secret(replication=replication)
    created = client.create_secret(parent="projects/sandbox", secret_id="key", secret=secret)
    for data in (b"one", b"two"):
        client.add_secret_version(parent=created.name, payload=secretmanager.SecretPayload(data=data))
    assert (
        client.access_secret_version(name="projects/sandbox/secrets/key/versions/latest").payload.data
        == b"two"
    )
    found = client.access_secret_version(name=f"{created.name}/versions/1")
    assert (found.payload.data, found.name) == (b"one", f"{created.name}/versions/1")
    assert len(list(client.list_secret_versions(parent=created.name))) == 2
    assert [one.name for one in client.list_secrets(parent="projects/sandbox")] == [created.name]
    with pytest.raises(exceptions.NotFound):
        client.access_secret_version(name=f"{created.name}/versions/3")
    with pytest.raises((exceptions.AlreadyExists, exceptions.Conflict)):
        client.create_secret(parent="projects/sandbox", secret_id="key", secret=secret)
    wrong = secretmanager.SecretPayload(data=b"x", data_crc32c=1)
    with pytest.raises(exceptions.BadRequest, match="checksum"):
        client.add_secret_version(parent=created.name, payload=wrong)

    theirs = secrets(cloud, cloud.token(READER))
    with pytest.raises(exceptions.Forbidden):
        theirs.access_secret_version(name=f"{created.name}/versions/1")
    policy = client.get_iam_policy(request={"resource": created.name})
    policy.bindings.add(role="roles/secretmanager.secretAccessor", members=[READER])
    client.set_iam_policy(request={"resource": created.name, "policy": policy})
    assert theirs.access_secret_version(name=f"{created.name}/versions/1").payload.data == b"one"
    with pytest.raises(exceptions.Forbidden):
        theirs.add_secret_version(parent=created.name, payload=secretmanager.SecretPayload(data=b"x"))
    with pytest.raises(exceptions.MethodNotImplemented):
        client.disable_secret_version(name=f"{created.name}/versions/1")
    client.destroy_secret_version(name=f"{created.name}/versions/1")
    with pytest.raises(exceptions.BadRequest, match="is in DESTROYED state"):
        client.access_secret_version(name=f"{created.name}/versions/1")
    enabled = {"parent": created.name, "filter": "state:ENABLED"}
    (left,) = client.list_secret_versions(request=enabled)
    assert left.name == f"{created.name}/versions/2"


def test_service_accounts_and_rights_in_the_project(cloud: Cloud) -> None:
    accounts = service(cloud, "iam").projects().serviceAccounts()
    wanted = {"accountId": "vm-runs", "serviceAccount": {"displayName": "VMs"}}
    created = accounts.create(name="projects/sandbox", body=wanted).execute()
    assert created["email"] == "vm-runs@sandbox.iam.gserviceaccount.com"
    assert accounts.get(name=created["name"]).execute() == created
    assert accounts.list(name="projects/sandbox").execute()["accounts"] == [created]
    with pytest.raises(HttpError) as refused:
        accounts.create(name="projects/sandbox", body=wanted).execute()
    assert refused.value.status_code == 409
    with pytest.raises(HttpError) as refused:
        accounts.keys().create(name=created["name"], body={}).execute()
    assert refused.value.status_code == 501

    cloud.call("POST", "/storage/v1/b?project=sandbox", json={"name": "models"})
    theirs = {"Authorization": f"Bearer {cloud.token(READER)}"}
    assert cloud.call("GET", "/storage/v1/b/models/o", headers=theirs).status_code == 403
    policy = cloud.call("POST", "/v1/projects/sandbox:getIamPolicy", json={}).json()
    policy["bindings"] = [{"role": "roles/storage.objectViewer", "members": [READER]}]
    changed = cloud.call("POST", "/v1/projects/sandbox:setIamPolicy", json={"policy": policy})
    assert changed.status_code == 200
    assert cloud.call("GET", "/storage/v1/b/models/o", headers=theirs).status_code == 200
    stale = cloud.call("POST", "/v1/projects/sandbox:setIamPolicy", json={"policy": policy})
    assert stale.status_code == 409
    accounts.delete(name=created["name"]).execute()
    with pytest.raises(HttpError):
        accounts.get(name=created["name"]).execute()


def test_services_are_switched_on(cloud: Cloud) -> None:
    usage = service(cloud, "serviceusage")
    name = "projects/sandbox/services/compute.googleapis.com"
    assert usage.services().get(name=name).execute()["state"] == "DISABLED"
    begun = usage.services().enable(name=name, body={}).execute()
    eventually(lambda: usage.operations().get(name=begun["name"]).execute().get("done", False))
    names = ["storage.googleapis.com", "secretmanager.googleapis.com"]
    usage.services().batchEnable(parent="projects/sandbox", body={"serviceIds": names}).execute()
    found = usage.services().list(parent="projects/sandbox", filter="state:ENABLED").execute()["services"]
    assert [one["config"]["name"] for one in found] == ["compute.googleapis.com", *sorted(names)]
    with pytest.raises(HttpError):
        usage.services().list(parent="projects/sandbox").execute()


def test_repositories_keep_their_clean_up_policies(cloud: Cloud) -> None:
    registry = service(cloud, "artifactregistry").projects().locations()
    keep = {
        "keep-released": {"id": "keep-released", "action": "KEEP", "mostRecentVersions": {"keepCount": 10}}
    }
    wanted = {"format": "DOCKER", "cleanupPolicies": keep}
    begun = registry.repositories().create(parent=PLACE, repositoryId="images", body=wanted).execute()
    done = lambda: registry.operations().get(name=begun["name"]).execute()  # noqa: E731
    eventually(lambda: done().get("done", False))
    assert done()["response"]["name"] == f"{PLACE}/repositories/images"
    found = registry.repositories().get(name=f"{PLACE}/repositories/images").execute()
    assert (found["cleanupPolicies"], found["registryUri"]) == (
        keep,
        "europe-west1-docker.pkg.dev/sandbox/images",
    )
    change = {"cleanupPolicyDryRun": True, "description": "not in the mask"}
    registry.repositories().patch(name=found["name"], updateMask="cleanupPolicyDryRun", body=change).execute()
    changed = registry.repositories().list(parent=PLACE).execute()["repositories"][0]
    assert changed["cleanupPolicyDryRun"] is True
    assert "description" not in changed
    registry.repositories().delete(name=found["name"]).execute()
    assert registry.repositories().list(parent=PLACE).execute() == {}
