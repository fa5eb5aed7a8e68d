"""The metadata server, as a program on a VM meets it."""

import threading
import time
from typing import Any

import google.auth.compute_engine
import httpx
import pytest
from google.auth.transport.requests import Request
from google.cloud import compute_v1 as compute

from tests.sandbox.conftest import ZONE, Cloud, eventually, metadata

FLAVOR = {"Metadata-Flavor": "Google"}
ACCOUNT = "vm@sandbox.iam.gserviceaccount.com"


def ask(address: str, **options: Any) -> httpx.Response:
    return httpx.request(options.pop("method", "GET"), address, headers=FLAVOR, timeout=20, **options)


def write(cloud: Cloud, vm: compute.Instance, **items: str) -> None:
    client = cloud.client(compute.InstancesClient)
    which = {"project": cloud.project, "zone": ZONE, "instance": vm.name}
    wanted = metadata(**items)
    wanted.fingerprint = client.get(**which).metadata.fingerprint
    cloud.done(client.set_metadata_unary(**which, metadata_resource=wanted))


def test_the_header_is_asked_for(cloud: Cloud) -> None:
    address = f"{cloud.on(cloud.vm())}/instance/name"
    assert httpx.get(address).status_code == 403
    assert httpx.get(address, headers={"Metadata-Flavor": "other"}).status_code == 403
    assert httpx.get(address, headers={**FLAVOR, "X-Forwarded-For": "1.2.3.4"}).status_code == 403
    answer = ask(address)
    assert (answer.status_code, answer.headers["Metadata-Flavor"]) == (200, "Google")


def test_every_vm_has_its_own(cloud: Cloud) -> None:
    one, other = cloud.vm("one"), cloud.vm("other")
    assert ask(f"{cloud.on(one)}/instance/name").text == "one"
    assert ask(f"{cloud.on(other)}/instance/name").text == "other"
    assert ask(f"{cloud.on(one)}/instance/id").text == str(one.id)
    assert ask(f"{cloud.on(one)}/instance/hostname").text == f"one.{ZONE}.c.{cloud.project}.internal"
    assert ask(f"{cloud.on(one)}/instance/zone").text.endswith(f"/zones/{ZONE}")
    assert ask(f"{cloud.on(one)}/project/project-id").text == cloud.project
    assert (
        ask(f"{cloud.on(one)}/instance/network-interfaces/0/ip").text == one.network_interfaces[0].network_i_p
    )


def test_values_and_directories(cloud: Cloud) -> None:
    at = cloud.on(cloud.vm(metadata=metadata(model_deploy='{"a": 1}', other="x")))
    assert ask(f"{at}/instance/attributes/model-deploy").text == '{"a": 1}'
    assert ask(f"{at}/instance/attributes/model-deploy?alt=json").json() == '{"a": 1}'
    assert ask(f"{at}/instance/attributes/").text.split() == ["model-deploy", "other"]
    assert ask(f"{at}/instance/attributes").status_code == 301
    assert ask(f"{at}/instance/attributes/?recursive=true").json() == {
        "model-deploy": '{"a": 1}',
        "other": "x",
    }
    whole = ask(f"{at}/?recursive=true&alt=json").json()
    assert whole["instance"]["attributes"]["other"] == "x"
    assert whole["project"]["projectId"] == cloud.project
    assert ask(f"{at}/instance/attributes/missing").status_code == 404
    assert ask(f"{at}/instance/licenses/").status_code == 501
    assert ask(f"{at}/instance/attributes/other?surprise=1").status_code == 501


def test_a_change_is_waited_for(cloud: Cloud) -> None:
    vm = cloud.vm(metadata=metadata(key="old", other="1"))
    address = f"{cloud.on(vm)}/instance/attributes/key"
    mark = ask(address).headers["ETag"]
    answers: list[httpx.Response] = []

    def wait() -> None:
        answers.append(
            ask(address, params={"wait_for_change": "true", "last_etag": mark, "timeout_sec": "15"})
        )

    thread = threading.Thread(target=wait)
    thread.start()
    write(cloud, vm, key="old", other="2")  # another key wakes nobody
    assert not answers
    write(cloud, vm, key="new", other="2")
    thread.join(5)
    assert answers[0].text == "new"
    assert answers[0].headers["ETag"] != mark
    # Who comes with an old mark does not wait at all.
    begun = time.monotonic()
    assert ask(address, params={"wait_for_change": "true", "last_etag": mark}).text == "new"
    now = answers[0].headers["ETag"]
    params = {"wait_for_change": "true", "last_etag": now, "timeout_sec": "1"}
    assert ask(address, params=params).headers["ETag"] == now
    assert 0.9 < time.monotonic() - begun < 5


def test_the_real_auth_library_gets_its_tokens_here(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    account = compute.ServiceAccount(email=ACCOUNT, scopes=["https://www.googleapis.com/auth/cloud-platform"])
    vm = cloud.vm(service_accounts=[account])
    host = cloud.on(vm).split("/")[2]
    monkeypatch.setattr("google.auth.compute_engine._metadata._GCE_METADATA_HOST", host)
    monkeypatch.setenv("GCE_METADATA_HOST", host)
    credentials = google.auth.compute_engine.Credentials()
    credentials.refresh(Request())
    assert credentials.service_account_email == ACCOUNT
    token = str(credentials.token)
    headers = {"Authorization": f"Bearer {token}"}
    path = f"/compute/v1/projects/{cloud.project}"
    assert cloud.call("GET", path, headers=headers).status_code == 403  # known, but no more than that
    assert ask(f"{cloud.on(vm)}/instance/service-accounts/default/token").json()["access_token"] == token
    cloud.pass_time(3600)
    assert cloud.call("GET", path, headers=headers).status_code == 401
    fresh = ask(f"{cloud.on(vm)}/instance/service-accounts/default/token").json()
    assert fresh["access_token"] != token
    assert fresh["expires_in"] == 3600


def test_a_vm_without_an_account_has_no_token(cloud: Cloud) -> None:
    assert ask(f"{cloud.on(cloud.vm())}/instance/service-accounts/default/token").status_code == 404


def test_guest_attributes_are_a_hint_with_a_limit(cloud: Cloud) -> None:
    client = cloud.client(compute.InstancesClient)
    closed = cloud.vm()
    assert (
        ask(f"{cloud.on(closed)}/instance/guest-attributes/a/b", method="PUT", content="x").status_code == 403
    )
    vm = cloud.vm(metadata=metadata(enable_guest_attributes="TRUE"))
    at = f"{cloud.on(vm)}/instance/guest-attributes"
    asked = {"project": cloud.project, "zone": ZONE, "instance": vm.name}
    with pytest.raises(Exception, match="404"):
        client.get_guest_attributes(
            compute.GetGuestAttributesInstanceRequest(**asked, query_path="model-deploy/")
        )
    assert ask(f"{at}/model-deploy/status", method="PUT", content='{"x": 1}').status_code == 200
    assert ask(f"{at}/model-deploy/status").text == '{"x": 1}'
    assert ask(f"{at}/model-deploy/").text.split() == ["status"]
    request = compute.GetGuestAttributesInstanceRequest(**asked, query_path="model-deploy/status")
    found = client.get_guest_attributes(request).query_value.items
    assert [(item.namespace, item.key, item.value) for item in found] == [
        ("model-deploy", "status", '{"x": 1}')
    ]
    codes = [ask(f"{at}/model-deploy/status").status_code for _ in range(8)]
    assert codes == [200] * 7 + [429]
    cloud.pass_time(61)
    assert ask(f"{at}/model-deploy/status").status_code == 200


def test_a_vm_that_is_off_does_not_answer(cloud: Cloud) -> None:
    vm = cloud.vm(metadata=metadata(key="x"))
    address = f"{cloud.on(vm)}/instance/attributes/key"
    broken: list[Exception] = []

    def wait() -> None:
        try:
            ask(address, params={"wait_for_change": "true"})
        except httpx.TransportError as error:
            broken.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    client, which = (
        cloud.client(compute.InstancesClient),
        {"project": cloud.project, "zone": ZONE, "instance": vm.name},
    )
    cloud.done(client.stop_unary(**which))
    with pytest.raises(httpx.ConnectError):
        ask(address)
    thread.join(5)
    assert broken
    cloud.done(client.start_unary(**which))
    eventually(lambda: ask(address).text == "x")
