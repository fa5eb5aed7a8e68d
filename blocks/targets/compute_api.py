"""The few calls of Compute Engine that targets need, each with a deadline, retried where that is safe."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from blocks.google_api import TRANSIENT, GoogleApi, refusal, said_plainly
from releases.problem import Problem

CALL_SECONDS = 30.0
RETRY_SECONDS = 150.0  # longer than a minute of 503
PAGE = 500
CHANGER = "roles/compute.instanceAdmin.v1"


class Conflict(Problem):
    """412: somebody else has written since we read."""


@dataclass(frozen=True)
class Vm:
    """A VM as it was when it was read."""

    zone: str
    name: str
    status: str
    internal: str
    external: str
    metadata: Mapping[str, str] = field(repr=False)
    fingerprint: str
    network: str = ""  # of the VPC
    scopes: tuple[str, ...] = ()  # of its service account

    @property
    def id(self) -> str:
        """Names repeat between zones."""
        return f"{self.zone}/{self.name}"


@dataclass(frozen=True)
class Sent:
    """A change that Google has taken; its operation may still fail."""

    zone: str
    operation: str
    vm: str


class Compute:
    """Compute Engine in one project."""

    def __init__(self, api: GoogleApi, project: str) -> None:
        self.api = api
        self.project = project

    def vms(self, zones: Sequence[str], matching: str) -> list[Vm]:
        """Those that fit the list filter, in the order of their ids."""
        found = []
        for zone in zones:
            request = {"project": self.project, "zone": zone, "filter": matching, "max_results": PAGE}
            with self.said("list VMs", f"projects/{self.project}/zones/{zone}", "roles/compute.viewer"):
                found += [_vm(one) for one in self._instances.list(request=request, **self.patient())]
        return sorted(found, key=lambda vm: vm.id)

    def vm(self, zone: str, name: str) -> Vm:
        """One VM as it is now."""
        which = {"project": self.project, "zone": zone, "instance": name}
        with self.said("read the VM", self._path(zone, name), "roles/compute.viewer"):
            return _vm(self._instances.get(request=which, **self.patient()))

    def set_metadata(self, vm: Vm, metadata: Mapping[str, str]) -> Sent:
        """Replace all of it, if nobody has written since the VM was read. Raises Conflict."""
        from google.api_core.exceptions import PreconditionFailed  # noqa: PLC0415
        from google.cloud import compute_v1 as compute  # noqa: PLC0415 - takes seconds; cloud environments only

        items = [compute.Items(key=key, value=value) for key, value in metadata.items()]
        request = compute.SetMetadataInstanceRequest(
            project=self.project,
            zone=vm.zone,
            instance=vm.name,
            metadata_resource=compute.Metadata(fingerprint=vm.fingerprint, items=items),
            request_id=str(uuid.uuid4()),  # sent again after a lost answer, it is the same change
        )
        with self.said("change the metadata", self._path(vm.zone, vm.name)):
            try:
                sent = self._instances.set_metadata_unary(request, **self.patient())
            except PreconditionFailed as error:
                raise Conflict(f"the metadata of {vm.id} was changed meanwhile") from error
        return Sent(vm.zone, sent.name, vm.id)

    def restart(self, vm: Vm) -> Sent:
        """Pull the plug and put it back in."""
        request = {
            "project": self.project,
            "zone": vm.zone,
            "instance": vm.name,
            "request_id": str(uuid.uuid4()),
        }
        with self.said("restart the VM", self._path(vm.zone, vm.name)):
            sent = self._instances.reset_unary(request=request, **self.patient())
        return Sent(vm.zone, sent.name, vm.id)

    def still_going(self, sent: Sequence[Sent]) -> list[Sent]:
        """One call for each zone. Raises the problem of the first operation that has failed."""
        going = []
        for zone in sorted({one.zone for one in sent}):
            here = {one.operation: one for one in sent if one.zone == zone}
            for found in self._operations_in(zone, list(here)):
                one = here[found.name]
                if found.error.errors:
                    first = found.error.errors[0]
                    place, _, name = one.vm.partition("/")
                    raise refusal(0, first.code, first.message, "change the VM", self._path(place, name))
                if found.status.name != "DONE":
                    going.append(one)
        return going

    def _operations_in(self, zone: str, names: list[str]) -> Iterator[Any]:
        """Newest first, until all are found."""
        wanted = set(names)
        request = {
            "project": self.project,
            "zone": zone,
            "max_results": PAGE,
            "filter": '(operationType = "setMetadata") OR (operationType = "reset")',
            "order_by": "creationTimestamp desc",
        }
        with self.said("read operations", f"projects/{self.project}/zones/{zone}", "roles/compute.viewer"):
            for one in self._operations.list(request=request, **self.patient()):
                if one.name in wanted:
                    wanted.remove(one.name)
                    yield one
                if not wanted:
                    return

    def patient(self) -> dict[str, Any]:
        """For reads, and changes with a request id: a limit for each answer, and for all of them."""
        from google.api_core.retry import Retry  # noqa: PLC0415

        retry = Retry(predicate=passes, initial=0.2, maximum=5.0, multiplier=2.0, timeout=RETRY_SECONDS)
        return {"retry": retry, "timeout": CALL_SECONDS}

    def _path(self, zone: str, name: str) -> str:
        return f"projects/{self.project}/zones/{zone}/instances/{name}"

    def said(self, doing: str, where: str, role: str = CHANGER) -> Any:
        """Google's refusals as problems that name the role which is missing."""
        grant = f"gcloud projects add-iam-policy-binding {self.project} --member=MEMBER --role={role}"
        # A right that was given beside the plan is taken away by the next one.
        hint = f"model-deploy provision; in a project it does not look after: {grant}"
        return said_plainly(doing, where, hint)

    @cached_property
    def _instances(self) -> Any:
        from google.cloud import compute_v1 as compute  # noqa: PLC0415

        return self.client(compute.InstancesClient)

    @cached_property
    def _operations(self) -> Any:
        from google.cloud import compute_v1 as compute  # noqa: PLC0415

        # A client of our own: an operation's `.result()` asks Google's public host, whatever the endpoint.
        return self.client(compute.ZoneOperationsClient)

    def client(self, kind: Callable[..., Any]) -> Any:
        """One of Google's clients."""
        return kind(credentials=self.api.google_credentials, client_options=self.api.client_options)


def passes(error: Exception) -> bool:
    """Whether asking again may help. Google's own predicate has neither timeouts nor 408, 502 and 504."""
    import requests  # noqa: PLC0415
    from google.api_core.exceptions import GoogleAPICallError  # noqa: PLC0415
    from google.api_core.retry import if_transient_error  # noqa: PLC0415

    if isinstance(error, GoogleAPICallError):
        return error.code in TRANSIENT
    return if_transient_error(error) or isinstance(error, requests.Timeout)


def _vm(one: Any) -> Vm:
    interface = one.network_interfaces[0] if one.network_interfaces else None
    outside = [config.nat_i_p for config in interface.access_configs] if interface else []
    return Vm(
        zone=one.zone.rpartition("/")[2],
        name=one.name,
        status=one.status,
        internal=interface.network_i_p if interface else "",
        external=next((address for address in outside if address), ""),
        metadata={item.key: item.value for item in one.metadata.items},
        fingerprint=one.metadata.fingerprint,
        network=interface.network.rpartition("/")[2] if interface else "",
        scopes=tuple(scope for account in one.service_accounts for scope in account.scopes),
    )
