"""The few calls of Compute Engine that a managed instance group needs; zonal and regional alike."""

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from blocks.google_api import refusal, said_plainly
from blocks.targets.compute_api import Compute, Conflict
from releases.problem import Unreachable

OPERATION_SECONDS = 120.0
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Group:
    """A group as it was when it was read."""

    base: str
    metadata: Mapping[str, str] = field(repr=False)
    labels: Mapping[str, str]
    fingerprint: str
    effective: bool
    proactive: bool


class GroupApi:
    """One group."""

    def __init__(self, compute: Compute, name: str, zone: str | None, region: str | None) -> None:
        self.compute = compute
        self.name = name
        self.zone = zone
        self.place = {"project": compute.project, **({"zone": zone} if zone else {"region": region})}
        self.it = {**self.place, "instance_group_manager": name}
        kind = f"zones/{zone}" if zone else f"regions/{region}"
        self.flags = f"--zone={zone}" if zone else f"--region={region}"
        self.flags += f" --project={compute.project}"
        self.path = f"projects/{compute.project}/{kind}/instanceGroupManagers/{name}"

    def read(self) -> Group:
        """The group as it is now."""
        with self.compute.said("read the group", self.path, "roles/compute.viewer"):
            found = self._groups.get(request=self.it, **self.compute.patient())
        wanted = found.all_instances_config.properties
        return Group(
            base=found.base_instance_name,
            metadata=dict(wanted.metadata),
            labels=dict(wanted.labels),
            fingerprint=found.fingerprint,
            effective=found.status.all_instances_config.effective,
            proactive=found.update_policy.type_ == "PROACTIVE",
        )

    def members(self) -> dict[str, str]:
        """The VM's id → what the group is doing with it."""
        with self.compute.said("list the group's VMs", self.path, "roles/compute.viewer"):
            found = list(self._groups.list_managed_instances(request=self.it, **self.compute.patient()))
        parts = {one.instance: one.instance.split("/") for one in found}
        return {f"{parts[one.instance][-3]}/{parts[one.instance][-1]}": one.current_action for one in found}

    def set_metadata(self, group: Group, metadata: Mapping[str, str]) -> None:
        """What all its VMs shall have, the ones to come included. Raises Conflict."""
        from google.api_core.exceptions import PreconditionFailed  # noqa: PLC0415
        from google.cloud import compute_v1 as compute  # noqa: PLC0415

        patch = compute.InstancePropertiesPatch(metadata=dict(metadata), labels=dict(group.labels))
        config = compute.InstanceGroupManagerAllInstancesConfig(properties=patch)
        change = compute.InstanceGroupManager(all_instances_config=config, fingerprint=group.fingerprint)
        request = {**self.it, "instance_group_manager_resource": change, "request_id": str(uuid.uuid4())}
        with self._changing("change the group"):
            try:
                sent = self._groups.patch_unary(request=request, **self.compute.patient())
            except PreconditionFailed as error:
                raise Conflict("the group was changed meanwhile", self.path) from error
            self._done(sent.name)

    def apply(self, members: Sequence[str]) -> None:
        """Bring the metadata to these VMs, without restarting any; wait until they have it."""
        links = []
        for one in members:
            zone, _, name = one.partition("/")
            links.append(f"zones/{zone}/instances/{name}")
        key = "" if self.zone else "region_"
        request = {
            **self.it,
            f"{key}instance_group_managers_apply_updates_request_resource": {
                "instances": links,
                "minimal_action": "NONE",
                "most_disruptive_allowed_action": "REFRESH",
            },
        }
        with self._changing("apply the group's configuration"):
            sent = self._groups.apply_updates_to_instances_unary(request=request, **self.compute.patient())
            self._done(sent.name)

    def wait_until(self, true: Callable[[], bool], what: str) -> None:
        """Poll with a deadline. Raises Unreachable."""
        deadline = time.monotonic() + OPERATION_SECONDS
        while not true():
            if time.monotonic() > deadline:
                raise Unreachable(
                    what,
                    self.path,
                    expected=f"within {OPERATION_SECONDS:.0f} s",
                    next_step=f"gcloud compute instance-groups managed describe {self.name} {self.flags}",
                )
            time.sleep(POLL_SECONDS)

    def _changing(self, doing: str) -> Any:
        """Google's refusals as problems that say how the deployer gets the right."""
        described = "say `machines: {group: true}` under `cloud` in the environments' file, then: "
        return said_plainly(doing, self.path, f"{described}model-deploy provision")

    def _done(self, name: str) -> None:
        """Asked again and again: its `wait` may be held for two minutes, longer than our limit."""
        request = {**self.place, "operation": name}

        def done() -> bool:
            found = self._operations.get(request=request, **self.compute.patient())
            if found.error.errors:
                first = found.error.errors[0]
                raise refusal(0, first.code, first.message, "change the group", self.path)
            return bool(found.status.name == "DONE")

        self.wait_until(done, "the change of the group is not carried out")

    @cached_property
    def _groups(self) -> Any:
        from google.cloud import compute_v1 as compute  # noqa: PLC0415

        return self.compute.client(
            compute.InstanceGroupManagersClient if self.zone else compute.RegionInstanceGroupManagersClient
        )

    @cached_property
    def _operations(self) -> Any:
        from google.cloud import compute_v1 as compute  # noqa: PLC0415

        return self.compute.client(
            compute.ZoneOperationsClient if self.zone else compute.RegionOperationsClient
        )
