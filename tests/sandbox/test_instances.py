"""Compute Engine's instances, asked by Google's own client library."""

import uuid

import pytest
from google.api_core import exceptions
from google.cloud import compute_v1 as compute

from sandbox.world import Settings
from tests.sandbox.conftest import ZONE, Cloud, eventually, instance, metadata, start


@pytest.fixture
def instances(cloud: Cloud) -> compute.InstancesClient:
    return cloud.client(compute.InstancesClient)


def at(cloud: Cloud, vm: compute.Instance) -> dict[str, str]:
    return {"project": cloud.project, "zone": ZONE, "instance": vm.name}


def test_an_operation_goes_through_its_states_and_the_vm_with_it() -> None:
    for cloud in start(Settings(pending_seconds=0.3, running_seconds=0.3)):
        client, operations = cloud.client(compute.InstancesClient), cloud.client(compute.ZoneOperationsClient)
        list(client.list(project=cloud.project, zone=ZONE))  # both clients have connected
        list(operations.list(project=cloud.project, zone=ZONE))
        begun = client.insert_unary(project=cloud.project, zone=ZONE, instance_resource=instance("a"))
        states = [begun.status.name]
        vm_states = [client.get(project=cloud.project, zone=ZONE, instance="a").status]
        while states[-1] != "DONE":
            now = operations.get(project=cloud.project, zone=ZONE, operation=begun.name)
            states.append(now.status.name)
            vm_states.append(client.get(project=cloud.project, zone=ZONE, instance="a").status)
        assert list(dict.fromkeys(states)) == ["PENDING", "RUNNING", "DONE"]
        assert list(dict.fromkeys(vm_states)) == ["PROVISIONING", "STAGING", "RUNNING"]
        assert now.target_link.endswith(f"/projects/{cloud.project}/zones/{ZONE}/instances/a")


def test_wait_may_answer_before_the_end() -> None:
    for cloud in start(Settings(running_seconds=0.5, wait_seconds=0.05)):
        client, operations = cloud.client(compute.InstancesClient), cloud.client(compute.ZoneOperationsClient)
        begun = client.insert_unary(project=cloud.project, zone=ZONE, instance_resource=instance("a"))
        asked = {"project": cloud.project, "zone": ZONE, "operation": begun.name}
        assert operations.wait(**asked).status.name == "RUNNING"
        eventually(lambda c=operations, a=asked: c.wait(**a).status.name == "DONE")


def test_a_name_is_taken_once_and_a_missing_vm_is_missing(
    cloud: Cloud, instances: compute.InstancesClient
) -> None:
    vm = cloud.vm("a")
    with pytest.raises(exceptions.Conflict):
        instances.insert_unary(project=cloud.project, zone=ZONE, instance_resource=instance("a"))
    cloud.done(instances.delete_unary(**at(cloud, vm)))
    with pytest.raises(exceptions.NotFound, match="instances/a' was not found"):
        instances.get(**at(cloud, vm))
    with pytest.raises(exceptions.NotFound):
        instances.get(project=cloud.project, zone="mars-west1-a", instance="a")


def test_the_same_request_twice_is_one(cloud: Cloud, instances: compute.InstancesClient) -> None:
    wanted = {"project": cloud.project, "zone": ZONE, "instance_resource": instance("a")}
    request_id = str(uuid.uuid4())
    asked = compute.InsertInstanceRequest(request_id=request_id, **wanted)
    first = cloud.done(instances.insert_unary(asked))
    assert instances.insert_unary(asked).name == first.name
    other = compute.DeleteInstanceRequest(
        project=cloud.project, zone=ZONE, instance="a", request_id=request_id
    )
    with pytest.raises(exceptions.BadRequest, match="another request"):
        instances.delete_unary(other)
    with pytest.raises(exceptions.BadRequest, match="UUID"):
        instances.insert_unary(compute.InsertInstanceRequest(request_id="1", **wanted))


def test_metadata_has_one_writer_at_a_time(cloud: Cloud, instances: compute.InstancesClient) -> None:
    vm = cloud.vm()
    mine, theirs = metadata(model_deploy="1"), metadata(model_deploy="2")
    mine.fingerprint = theirs.fingerprint = vm.metadata.fingerprint
    first = instances.set_metadata_unary(**at(cloud, vm), metadata_resource=mine)
    # The first is not done yet, and still the second comes too late.
    with pytest.raises(exceptions.PreconditionFailed, match="fingerprint"):
        instances.set_metadata_unary(**at(cloud, vm), metadata_resource=theirs)
    cloud.done(first)
    now = instances.get(**at(cloud, vm)).metadata
    assert [(item.key, item.value) for item in now.items] == [("model-deploy", "1")]
    assert now.fingerprint != vm.metadata.fingerprint
    with pytest.raises(exceptions.PreconditionFailed):
        instances.set_metadata_unary(**at(cloud, vm), metadata_resource=metadata(a="no fingerprint"))


def test_the_effect_of_an_operation_is_there_when_it_is_done() -> None:
    for cloud in start(Settings(pending_seconds=0.2, running_seconds=0.2)):
        client, vm = cloud.client(compute.InstancesClient), cloud.vm()
        wanted = metadata(a="b")
        wanted.fingerprint = vm.metadata.fingerprint
        operation = client.set_metadata_unary(**at(cloud, vm), metadata_resource=wanted)
        assert not client.get(**at(cloud, vm)).metadata.items
        cloud.done(operation)
        assert client.get(**at(cloud, vm)).metadata.items


def test_metadata_has_limits(cloud: Cloud, instances: compute.InstancesClient) -> None:
    vm = cloud.vm()
    for wanted in (
        metadata(a="x" * (256 * 1024 + 1)),
        metadata(a="x" * 200_000, b="x" * 200_000, c="x" * 200_000),
        compute.Metadata(items=[compute.Items(key="a", value="1"), compute.Items(key="a", value="2")]),
        compute.Metadata(items=[compute.Items(key="no blanks", value="1")]),
    ):
        wanted.fingerprint = vm.metadata.fingerprint
        with pytest.raises(exceptions.BadRequest, match=r"metadata|Metadata"):
            instances.set_metadata_unary(**at(cloud, vm), metadata_resource=wanted)
    largest = metadata(a="x" * 256 * 1024, b="x" * (256 * 1024 - 2))
    largest.fingerprint = vm.metadata.fingerprint
    cloud.done(instances.set_metadata_unary(**at(cloud, vm), metadata_resource=largest))


def test_labels_have_a_fingerprint_of_their_own(cloud: Cloud, instances: compute.InstancesClient) -> None:
    vm = cloud.vm(labels={"env": "dev"})
    wanted = compute.InstancesSetLabelsRequest(labels={"env": "prod"}, label_fingerprint=vm.label_fingerprint)
    cloud.done(instances.set_labels_unary(**at(cloud, vm), instances_set_labels_request_resource=wanted))
    assert instances.get(**at(cloud, vm)).labels == {"env": "prod"}
    with pytest.raises(exceptions.PreconditionFailed):
        instances.set_labels_unary(**at(cloud, vm), instances_set_labels_request_resource=wanted)


def test_power(cloud: Cloud, instances: compute.InstancesClient) -> None:
    vm = cloud.vm()
    cloud.done(instances.stop_unary(**at(cloud, vm)))
    assert instances.get(**at(cloud, vm)).status == "TERMINATED"
    with pytest.raises(exceptions.BadRequest, match="not ready"):
        instances.reset_unary(**at(cloud, vm))
    cloud.done(instances.start_unary(**at(cloud, vm)))
    before = instances.get(**at(cloud, vm))
    assert before.status == "RUNNING"
    cloud.done(instances.reset_unary(**at(cloud, vm)))
    after = instances.get(**at(cloud, vm))
    assert (after.status, after.id) == ("RUNNING", before.id)
    assert after.network_interfaces[0].network_i_p == vm.network_interfaces[0].network_i_p
    assert after.last_start_timestamp > before.last_start_timestamp


def test_serial_output_can_be_followed(cloud: Cloud, instances: compute.InstancesClient) -> None:
    vm = cloud.vm()
    output = instances.get_serial_port_output(**at(cloud, vm))
    assert f"{vm.name} started" in output.contents
    more = compute.GetSerialPortOutputInstanceRequest(**at(cloud, vm), start=output.next_)
    assert instances.get_serial_port_output(more).contents == ""


def test_lists_come_in_pages_and_are_filtered(cloud: Cloud, instances: compute.InstancesClient) -> None:
    for number in range(5):
        cloud.vm(f"vm-{number}", labels={"env": "prod" if number % 2 else "dev", "n": str(number)})
    asked = {"project": cloud.project, "zone": ZONE}
    pages = list(instances.list(compute.ListInstancesRequest(**asked, max_results=2)).pages)
    assert [[vm.name for vm in page.items] for page in pages] == [
        ["vm-0", "vm-1"],
        ["vm-2", "vm-3"],
        ["vm-4"],
    ]
    for expression, names in {
        "labels.env=prod": ["vm-1", "vm-3"],
        "labels.env = prod AND NOT name = vm-1": ["vm-3"],
        "(labels.env=prod) (name != vm-1)": ["vm-3"],
        "name=vm-0 OR name=vm-4": ["vm-0", "vm-4"],
        'name eq "vm-[12]"': ["vm-1", "vm-2"],
        "name:vm-*": [f"vm-{number}" for number in range(5)],
        "labels.n >= 3": ["vm-3", "vm-4"],
        "status=TERMINATED": [],
        f"zone={ZONE} labels.env:*": [f"vm-{number}" for number in range(5)],
        "networkInterfaces.networkIP=127.0.1.1": ["vm-0"],
    }.items():
        found = instances.list(compute.ListInstancesRequest(**asked, filter=expression))
        assert [vm.name for vm in found] == names, expression
    for wrong in ("name", "name =", "(name=a", "name=a)"):
        with pytest.raises(exceptions.BadRequest, match="filter"):
            instances.list(compute.ListInstancesRequest(**asked, filter=wrong))
    scopes = dict(instances.aggregated_list(project=cloud.project))
    assert [vm.name for vm in scopes[f"zones/{ZONE}"].instances] == [f"vm-{number}" for number in range(5)]


def test_an_invalid_vm_is_refused(cloud: Cloud, instances: compute.InstancesClient) -> None:
    for broken in (instance("Upper"), instance(""), compute.Instance(name="a")):
        with pytest.raises(exceptions.BadRequest):
            instances.insert_unary(project=cloud.project, zone=ZONE, instance_resource=broken)


def test_nobody_is_let_in_without_a_token(cloud: Cloud) -> None:
    path = f"/compute/v1/projects/{cloud.project}/zones/{ZONE}/instances"
    short = {"Authorization": f"Bearer {cloud.token('user:a@example.com', seconds=60)}"}
    assert cloud.call("GET", path, headers={"Authorization": "Bearer made-up"}).status_code == 401
    assert cloud.call("GET", path, headers={"Authorization": ""}).status_code == 401
    assert cloud.call("GET", path, headers=short).status_code == 403  # known, but no more than that
    cloud.pass_time(61)
    assert cloud.call("GET", path, headers=short).status_code == 401
