"""Compute Engine: the subnetwork's way to Google's APIs, the firewall, the VMs."""

from blocks.provisioning.google_rest import Conflict, GoogleRest
from releases.provisioning import requests
from releases.provisioning.described import CloudEnvironment
from releases.provisioning.seen import seen
from releases.provisioning.wanted import Change, Json, Wanted

API = "compute"


class Subnetworks:
    """Subnetworks are the network people's; we ask for one property of one that is there."""

    def __init__(self, api: GoogleRest, region: str) -> None:
        self.api = api
        self.region = region

    def find(self, wanted: Wanted) -> Json | None:
        """The subnetwork."""
        path = f"/compute/v1/projects/{self.api.project}/regions/{self.region}/subnetworks/{wanted.key.name}"
        found = self.api.get(f"look up {wanted.key}", API, path)
        return found and seen(wanted, found)

    def create(self, wanted: Wanted) -> None:
        """Its address range is not ours to choose."""
        raise NotImplementedError(str(wanted.key))

    def change(self, change: Change) -> None:
        """Let VMs without an external address reach Google's APIs."""
        rest = f"subnetworks/{change.key.name}/setPrivateIpGoogleAccess"
        body = {"privateIpGoogleAccess": change.wanted.body["privateIpGoogleAccess"]}
        self.api.compute("POST", f"change {change.key}", f"regions/{self.region}", rest, body)


class Firewalls:
    """Firewall rules."""

    def __init__(self, api: GoogleRest) -> None:
        self.api = api

    def find(self, wanted: Wanted) -> Json | None:
        """The rule."""
        path = f"/compute/v1/projects/{self.api.project}/global/firewalls/{wanted.key.name}"
        found = self.api.get(f"look up {wanted.key}", API, path)
        return found and seen(wanted, found)

    def create(self, wanted: Wanted) -> None:
        """Make the rule."""
        body = {"name": wanted.key.name, **requests.firewall(wanted.body)}
        self.api.compute("POST", f"create {wanted.key}", "global", "firewalls", body)

    def change(self, change: Change) -> None:
        """Bring the fields that differ to what they shall be."""
        body = requests.firewall(requests.changed(change.wanted, change.fields))
        self.api.compute("PATCH", f"change {change.key}", "global", f"firewalls/{change.key.name}", body)


class Vms:
    """The VMs of one zone."""

    def __init__(self, api: GoogleRest, cloud: CloudEnvironment) -> None:
        self.api = api
        self.cloud = cloud
        self.place = f"zones/{cloud.zone}"

    def find(self, wanted: Wanted) -> Json | None:
        """The VM."""
        found = self._get(wanted)
        return found and seen(wanted, found)

    def create(self, wanted: Wanted) -> None:
        """Make the VM; it boots by itself."""
        body = requests.instance(self.cloud, wanted)
        self.api.compute("POST", f"create {wanted.key}", self.place, "instances", body)

    def change(self, change: Change) -> None:
        """Only what does not disturb what runs on it: metadata, labels, and that it runs at all."""
        fields, what = requests.changed(change.wanted, change.fields), f"change {change.key}"
        found = self._get(change.wanted)
        if found is None:
            raise Conflict(what, got="it is gone")
        one = f"instances/{change.key.name}"
        if "metadata" in fields:
            body = with_metadata(found.get("metadata") or {}, fields["metadata"])
            self.api.compute("POST", what, self.place, f"{one}/setMetadata", body)
        if "labels" in fields:
            labels = {**(found.get("labels") or {}), **fields["labels"]}
            body = {"labels": labels, "labelFingerprint": found.get("labelFingerprint", "")}
            self.api.compute("POST", what, self.place, f"{one}/setLabels", body)
        if "status" in fields:
            self.api.compute("POST", what, self.place, f"{one}/start")

    def _get(self, wanted: Wanted) -> Json | None:
        path = f"/compute/v1/projects/{self.api.project}/{self.place}/instances/{wanted.key.name}"
        return self.api.get(f"look up {wanted.key}", API, path)


def with_metadata(found: Json, wanted: dict[str, str]) -> Json:
    """The metadata with our keys as they shall be; the others, a release's among them, stay as they are."""
    items = {item["key"]: item.get("value", "") for item in found.get("items", [])} | wanted
    return {
        "fingerprint": found.get("fingerprint", ""),
        "items": [{"key": key, "value": value} for key, value in items.items()],
    }
