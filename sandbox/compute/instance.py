"""One VM in the books: its resource, its metadata, its power."""

import asyncio
import hashlib
import ipaddress
import json
from dataclasses import dataclass, field
from typing import Any

from sandbox.compute.names import check_name, fingerprint, full, link, region_of
from sandbox.errors import condition_not_met, invalid
from sandbox.routing import Json
from sandbox.world import World

MOST_OF_ONE = 256 * 1024
MOST_IN_ALL = 512 * 1024
FIRST_ADDRESS = ipaddress.IPv4Address("127.0.1.1")
SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]
# Fields that are the server's to say; a request that sends them (a copy of another VM, say) is not believed.
OUTPUT_ONLY = (
    "id",
    "kind",
    "creationTimestamp",
    "selfLink",
    "status",
    "zone",
    "fingerprint",
    "labelFingerprint",
)


@dataclass
class Instance:
    """A VM. `resource` is what the API shows; `accepted` is the metadata fingerprint a writer must know."""

    project: str
    zone: str
    name: str
    resource: Json
    accepted: str = ""
    serial: str = ""
    group: str = ""  # the link of the managed group that made it
    guest: dict[tuple[str, str], str] = field(default_factory=dict)
    queries: list[float] = field(default_factory=list)  # when guest attributes were asked for
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    power: asyncio.Lock = field(default_factory=asyncio.Lock)
    token: tuple[str, float] = ("", 0.0)  # of its service account, and when it expires
    inside: str = ""  # HOST:PORT at which its containers find the metadata server and the APIs
    deleted: bool = False

    @property
    def id(self) -> str:
        """The numeric id."""
        return str(self.resource["id"])

    @property
    def address(self) -> str:
        """Its own loopback address."""
        return str(self.resource["networkInterfaces"][0]["networkIP"])

    @property
    def status(self) -> str:
        """PROVISIONING, STAGING, RUNNING, STOPPING or TERMINATED."""
        return str(self.resource["status"])

    @property
    def service_account(self) -> Json | None:
        """The attached one, if any."""
        accounts = self.resource.get("serviceAccounts") or []
        return accounts[0] if accounts else None

    def metadata(self) -> dict[str, str]:
        """The custom metadata as a map."""
        return {item["key"]: item.get("value", "") for item in self.resource["metadata"].get("items", [])}

    def tell(self) -> None:
        """Wake whoever waits for a change."""
        self.changed.set()
        self.changed = asyncio.Event()

    def accept_metadata(self, given: Json) -> Json:
        """Check new metadata; from now on a writer must know its fingerprint."""
        if given.get("fingerprint") != self.accepted:
            raise condition_not_met("Supplied fingerprint does not match current metadata fingerprint.")
        metadata = checked_metadata(given)
        self.accepted = metadata["fingerprint"]
        return metadata

    def show_metadata(self, metadata: Json) -> None:
        """Make it what the API and the metadata server say."""
        self.resource["metadata"] = metadata
        self.tell()

    def put_metadata(self, wanted: dict[str, str]) -> None:
        """Set some keys, the others stay: the server's own doing, so no fingerprint is asked for."""
        items = [{"key": key, "value": value} for key, value in {**self.metadata(), **wanted}.items()]
        metadata = checked_metadata({"items": items})
        self.accepted = metadata["fingerprint"]
        self.show_metadata(metadata)

    def put_labels(self, labels: dict[str, str]) -> None:
        """Replace the labels."""
        self.resource["labels"] = labels
        self.resource["labelFingerprint"] = fingerprint(labels)


def checked_metadata(given: Json) -> Json:
    """The metadata as it is stored, or 400."""
    items = given.get("items") or []
    keys = [item.get("key", "") for item in items]
    if len(set(keys)) != len(keys):
        raise invalid("Invalid value for field 'resource.metadata': Duplicate metadata keys.")
    total = 0
    for place, item in enumerate(items):
        key, size = item.get("key", ""), len(item.get("value", "").encode())
        name = key.replace("-", "").replace("_", "")
        if not key or len(key) > 128 or (name and not (name.isascii() and name.isalnum())):  # noqa: PLR2004 - the API's limit
            raise invalid(f"Invalid value for field 'resource.metadata.items[{place}].key': '{key}'.")
        if size > MOST_OF_ONE:
            raise invalid(
                f"Value for field 'resource.metadata.items[{place}].value' is too large: "
                f"maximum size {MOST_OF_ONE} character(s); actual size {size}."
            )
        total += size + len(key)
    if total > MOST_IN_ALL:
        raise invalid(f"Metadata is too large: maximum size {MOST_IN_ALL}; actual size {total}.")
    items = [{"key": item["key"], "value": item.get("value", "")} for item in items]
    stored: Json = {"kind": "compute#metadata", "fingerprint": fingerprint(items)}
    return {**stored, "items": items} if items else stored


def new_instance(world: World, project: str, zone: str, body: Json) -> Instance:
    """A VM out of a request, or 400. It has an address, and is PROVISIONING."""
    name = check_name(body.get("name"))
    if not body.get("machineType"):
        raise invalid("Invalid value for field 'resource.machineType': ''.")
    if not body.get("disks"):
        raise invalid(
            "Invalid value for field 'resource.disks': ''. At least one boot disk must be specified."
        )
    if not body.get("networkInterfaces"):
        wrong = "Invalid value for field 'resource.networkInterfaces': ''."
        raise invalid(f"{wrong} At least one network interface is required.")
    given = {key: value for key, value in body.items() if key not in OUTPUT_ONLY}
    metadata = checked_metadata(body.get("metadata") or {})
    address = str(FIRST_ADDRESS + next(world.numbers) - 1)
    resource: Json = {
        **given,
        "kind": "compute#instance",
        "id": world.new_id(),
        "creationTimestamp": world.timestamp(),
        "name": name,
        "zone": link(project, zone),
        "status": "PROVISIONING",
        "machineType": _machine_type(project, zone, body["machineType"]),
        "disks": [_disk(project, zone, name, number, disk) for number, disk in enumerate(body["disks"])],
        "networkInterfaces": [_interface(project, zone, address, body["networkInterfaces"][0])],
        "metadata": metadata,
        "tags": _tags(body.get("tags") or {}),
        "scheduling": {"automaticRestart": True, "preemptible": False, **(body.get("scheduling") or {})},
        "labelFingerprint": fingerprint(body.get("labels") or {}),
        "serviceAccounts": [_account(project, one) for one in body.get("serviceAccounts") or []],
        "startRestricted": False,
        "deletionProtection": bool(body.get("deletionProtection")),
        "cpuPlatform": "Intel Broadwell",
        "selfLink": link(project, zone, "instances", name),
    }
    resource["fingerprint"] = fingerprint([resource["id"], resource["name"]])
    return Instance(project, zone, name, resource, accepted=metadata["fingerprint"])


def _machine_type(project: str, zone: str, given: str) -> str:
    return full(project, given if "/" in given else f"zones/{zone}/machineTypes/{given}")


def _disk(project: str, zone: str, name: str, number: int, given: Json) -> Json:
    parameters = given.get("initializeParams") or {}
    disk = {key: value for key, value in given.items() if key != "initializeParams"}
    called = parameters.get("diskName") or (name if not number else f"{name}-{number}")
    return {
        "kind": "compute#attachedDisk",
        "type": "PERSISTENT",
        "mode": "READ_WRITE",
        "interface": "SCSI",
        "boot": not number,
        "autoDelete": False,
        "deviceName": f"persistent-disk-{number}",
        "source": link(project, zone, "disks", called),
        "diskSizeGb": str(parameters.get("diskSizeGb", 10)),
        **disk,
        "index": number,
    }


def _interface(project: str, zone: str, address: str, given: Json) -> Json:
    interface = {
        "kind": "compute#networkInterface",
        "name": "nic0",
        "network": full(project, given.get("network") or "global/networks/default"),
        "subnetwork": full(
            project, given.get("subnetwork") or f"regions/{region_of(zone)}/subnetworks/default"
        ),
        "networkIP": address,
        "stackType": "IPV4_ONLY",
        "fingerprint": fingerprint(address),
    }
    # The public address is the same: on one machine there is no other way in.
    outside = [
        {
            "kind": "compute#accessConfig",
            "type": "ONE_TO_ONE_NAT",
            "name": "external-nat",
            **one,
            "natIP": address,
        }
        for one in given.get("accessConfigs") or []
    ]
    return {**interface, "accessConfigs": outside} if outside else interface


def _tags(given: Json) -> Json:
    items = given.get("items") or []
    return {"items": items, "fingerprint": fingerprint(items)} if items else {"fingerprint": fingerprint([])}


def _account(project: str, given: Json) -> Json:
    email = given.get("email") or "default"
    if email == "default":
        email = f"{project_number(project)}-compute@developer.gserviceaccount.com"
    return {"email": email, "scopes": given.get("scopes") or SCOPES}


def project_number(project: str) -> str:
    """A project's number, always the same for the same id; a number is its own."""
    if project.isdigit():
        return project
    return str(int.from_bytes(hashlib.sha256(project.encode()).digest()[:5], "big") + 10**11)


async def switch_on(world: World, vm: Instance) -> None:
    """Boot the VM, after whatever its power is busy with."""
    async with vm.power:
        if vm.status == "RUNNING" and not vm.deleted:
            try:
                await asyncio.to_thread(world.machine.power_on, vm)
            except Exception as error:  # noqa: BLE001 - a VM that cannot boot is RUNNING, and its console says why
                vm.serial += f"sandbox: the machine does not boot: {error}\n"


async def switch_off(world: World, vm: Instance) -> None:
    """Shut the VM down, after whatever its power is busy with."""
    async with vm.power:
        await asyncio.to_thread(world.machine.power_off, vm)


async def throw_away(world: World, vm: Instance) -> None:
    """Shut the VM down, and its disks go too."""
    async with vm.power:
        await asyncio.to_thread(world.machine.power_off, vm)
        await asyncio.to_thread(world.machine.discard, vm)


def run(world: World, vm: Instance) -> None:
    """It is RUNNING from now on; the boot takes its own time."""
    world.network.plug_in(vm)
    vm.resource.update(status="RUNNING", lastStartTimestamp=world.timestamp())
    vm.serial += f"sandbox: {vm.name} started at {world.timestamp()}\n"
    vm.guest.clear()  # guest attributes do not outlive a stop
    world.background(switch_on(world, vm))


def halt(world: World, vm: Instance) -> None:
    """It is TERMINATED from now on."""
    vm.resource.update(status="TERMINATED", lastStopTimestamp=world.timestamp())
    vm.serial = ""


def remove(world: World, vm: Instance) -> None:
    """It is gone."""
    vm.deleted = True
    vm.tell()
    world.instances.pop((vm.project, vm.zone, vm.name), None)
    for group in list(world.groups.values()):
        if vm.name in group.members:
            group.reconcile(world)


def etag(value: Any) -> str:
    """The metadata server's etag of a value: content-based."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
