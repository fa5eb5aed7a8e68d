"""Templates, managed groups and firewalls, asked by Google's own client library."""

from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import compute_v1 as compute

from sandbox.world import Settings
from tests.sandbox.conftest import REGION, ZONE, Cloud, eventually, instance, metadata, start


def template(cloud: Cloud, name: str = "t") -> str:
    like = instance("unused")
    properties = compute.InstanceProperties(
        machine_type="e2-small",
        disks=like.disks,
        network_interfaces=like.network_interfaces,
        metadata=metadata(from_template="1", model_deploy="old"),
    )
    wanted = compute.InstanceTemplate(name=name, properties=properties)
    client = cloud.client(compute.InstanceTemplatesClient)
    cloud.done(client.insert_unary(project=cloud.project, instance_template_resource=wanted))
    return client.get(project=cloud.project, instance_template=name).self_link


class Managed:
    """A group and its client, the same for a zone and for a region."""

    def __init__(self, cloud: Cloud, regional: bool) -> None:
        self.cloud = cloud
        kind: Any = (
            compute.RegionInstanceGroupManagersClient if regional else compute.InstanceGroupManagersClient
        )
        self.client = cloud.client(kind)
        self.place = {"project": cloud.project, **({"region": REGION} if regional else {"zone": ZONE})}
        self.it = {**self.place, "instance_group_manager": "g"}
        self.regional = regional

    def create(self, size: int, kind: str = "OPPORTUNISTIC") -> None:
        wanted = compute.InstanceGroupManager(
            name="g",
            base_instance_name="node",
            target_size=size,
            instance_template=template(self.cloud),
            update_policy=compute.InstanceGroupManagerUpdatePolicy(type_=kind),
        )
        self.cloud.done(self.client.insert_unary(**self.place, instance_group_manager_resource=wanted))
        eventually(self.stable)

    def get(self) -> compute.InstanceGroupManager:
        return self.client.get(**self.it)

    def stable(self) -> bool:
        return self.get().status.is_stable

    def effective(self) -> bool:
        return self.get().status.all_instances_config.effective

    def names(self) -> list[str]:
        return [one.instance for one in self.client.list_managed_instances(**self.it)]

    def want(self, **items: str) -> None:
        patch = compute.InstancePropertiesPatch(metadata=items, labels={"group": "g"})
        change = compute.InstanceGroupManager(
            all_instances_config=compute.InstanceGroupManagerAllInstancesConfig(properties=patch)
        )
        self.cloud.done(self.client.patch_unary(**self.it, instance_group_manager_resource=change))

    def apply(self, action: str = "REFRESH") -> None:
        kind: Any = compute.InstanceGroupManagersApplyUpdatesRequest
        if self.regional:
            kind = compute.RegionInstanceGroupManagersApplyUpdatesRequest
        request = kind(instances=self.names(), minimal_action="NONE", most_disruptive_allowed_action=action)
        which = (
            "region_" if self.regional else ""
        ) + "instance_group_managers_apply_updates_request_resource"
        self.cloud.done(self.client.apply_updates_to_instances_unary(**self.it, **{which: request}))

    def seen(self) -> list[dict[str, str]]:
        client = self.cloud.client(compute.InstancesClient)
        found = []
        for link in self.names():
            zone, name = link.split("/")[-3], link.split("/")[-1]
            vm = client.get(project=self.cloud.project, zone=zone, instance=name)
            found.append({"zone": zone, **{item.key: item.value for item in vm.metadata.items}})
        return found


@pytest.mark.parametrize("regional", [False, True])
def test_a_new_configuration_reaches_the_vms_only_when_applied(regional: bool) -> None:
    for cloud in start(Settings(pending_seconds=0.05, running_seconds=0.1)):
        group = Managed(cloud, regional)
        group.create(3)
        assert group.effective()
        assert len({vm["zone"] for vm in group.seen()}) == (3 if regional else 1)
        group.want(**{"model-deploy": "new"})
        assert not group.effective()
        assert {vm["model-deploy"] for vm in group.seen()} == {"old"}
        group.apply("NONE")
        assert not group.effective()
        group.apply()
        actions = {one.current_action for one in group.client.list_managed_instances(**group.it)}
        assert actions == {"REFRESHING"}
        assert not group.stable()
        eventually(group.effective)
        eventually(group.stable)
        assert {(vm["model-deploy"], vm["from-template"]) for vm in group.seen()} == {("new", "1")}


def test_a_vm_that_comes_later_has_the_configuration_from_the_start(cloud: Cloud) -> None:
    group = Managed(cloud, regional=False)
    group.create(1)
    group.want(**{"model-deploy": "new"})
    cloud.done(group.client.resize_unary(**group.it, size=2))
    eventually(lambda: group.stable() and len(group.names()) == 2)
    assert sorted(vm["model-deploy"] for vm in group.seen()) == ["new", "old"]


def test_a_proactive_group_applies_by_itself(cloud: Cloud) -> None:
    group = Managed(cloud, regional=True)
    group.create(4, "PROACTIVE")
    group.want(**{"model-deploy": "new"})
    eventually(group.effective)
    assert {vm["model-deploy"] for vm in group.seen()} == {"new"}


def test_a_deleted_vm_comes_again_and_a_deleted_group_goes_with_its_vms(cloud: Cloud) -> None:
    group = Managed(cloud, regional=False)
    group.create(2)
    before = group.names()
    instances = cloud.client(compute.InstancesClient)
    gone = before[0].rpartition("/")[2]
    cloud.done(instances.delete_unary(project=cloud.project, zone=ZONE, instance=gone))
    eventually(lambda: group.stable() and gone not in str(group.names()) and len(group.names()) == 2)
    templates = cloud.client(compute.InstanceTemplatesClient)
    with pytest.raises(exceptions.BadRequest, match="already being used"):
        templates.delete_unary(project=cloud.project, instance_template="t")
    cloud.done(group.client.delete_unary(**group.it))
    eventually(lambda: not list(group.client.list(**group.place)))
    assert not list(instances.list(project=cloud.project, zone=ZONE))
    cloud.done(templates.delete_unary(project=cloud.project, instance_template="t"))


def test_replacing_vms_is_not_pretended(cloud: Cloud) -> None:
    group = Managed(cloud, regional=False)
    group.create(1, "PROACTIVE")
    template(cloud, "t2")
    change = compute.InstanceGroupManager(instance_template="global/instanceTemplates/t2")
    with pytest.raises(exceptions.MethodNotImplemented):
        group.client.patch_unary(**group.it, instance_group_manager_resource=change)


def test_firewalls(cloud: Cloud) -> None:
    client = cloud.client(compute.FirewallsClient)
    opened = [compute.Allowed(I_p_protocol="tcp", ports=["443"])]
    wanted = compute.Firewall(
        name="service", allowed=opened, source_ranges=["0.0.0.0/0"], target_tags=["service"]
    )
    cloud.done(client.insert_unary(project=cloud.project, firewall_resource=wanted))
    change = compute.Firewall(source_ranges=["10.0.0.0/8"])
    cloud.done(client.patch_unary(project=cloud.project, firewall="service", firewall_resource=change))
    found = client.get(project=cloud.project, firewall="service")
    assert (list(found.source_ranges), list(found.allowed[0].ports)) == (["10.0.0.0/8"], ["443"])
    assert [rule.name for rule in client.list(project=cloud.project)] == ["service"]
    with pytest.raises(exceptions.Conflict):
        client.insert_unary(project=cloud.project, firewall_resource=wanted)
    cloud.done(client.delete_unary(project=cloud.project, firewall="service"))
    with pytest.raises(exceptions.NotFound):
        client.get(project=cloud.project, firewall="service")


def test_places(cloud: Cloud) -> None:
    zones = {zone.name for zone in cloud.client(compute.ZonesClient).list(project=cloud.project)}
    region = cloud.client(compute.RegionsClient).get(project=cloud.project, region=REGION)
    assert ZONE in zones
    assert ZONE in {zone.rpartition("/")[2] for zone in region.zones}
    assert cloud.client(compute.ZonesClient).get(project=cloud.project, zone=ZONE).status == "UP"
    assert cloud.client(compute.ProjectsClient).get(project=cloud.project).name == cloud.project
