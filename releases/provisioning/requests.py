"""The bodies of requests that create or change a resource, where they are not the wanted body itself."""

from releases.provisioning.described import CloudEnvironment
from releases.provisioning.wanted import Difference, Json, Wanted

COS = "projects/cos-cloud/global/images/family"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"  # what may be done is said by roles, not by scopes


def network_link(name: str) -> str:
    """As Compute Engine takes it."""
    return f"global/networks/{name}"


def changed(wanted: Wanted, fields: tuple[Difference, ...]) -> Json:
    """The part of the body to send: each of its fields, whole, in which something differs."""
    names = {one.path.partition(".")[0] for one in fields}
    return {name: value for name, value in wanted.body.items() if name in names}


def firewall(wanted: Json) -> Json:
    """A firewall rule, or a part of one."""
    return {**wanted, "network": network_link(wanted["network"])} if "network" in wanted else wanted


def instance(cloud: CloudEnvironment, wanted: Wanted) -> Json:
    """A new VM."""
    body = wanted.body
    interface: Json = {
        "network": network_link(body["network"]),
        "subnetwork": f"regions/{cloud.region}/subnetworks/{body['subnetwork']}",
    }
    if body["externalIp"]:
        interface["accessConfigs"] = [{"type": "ONE_TO_ONE_NAT", "name": "external-nat"}]
    disk = {"sourceImage": f"{COS}/{body['imageFamily']}", "diskSizeGb": body["diskSizeGb"]}
    return {
        "name": wanted.key.name,
        "machineType": f"zones/{cloud.zone}/machineTypes/{body['machineType']}",
        "disks": [{"boot": True, "autoDelete": True, "initializeParams": disk}],
        "networkInterfaces": [interface],
        "serviceAccounts": [{"email": body["serviceAccount"], "scopes": [SCOPE]}],
        "labels": body["labels"],
        "metadata": {"items": [{"key": key, "value": value} for key, value in body["metadata"].items()]},
        "shieldedInstanceConfig": {
            "enableSecureBoot": True,
            "enableVtpm": True,
            "enableIntegrityMonitoring": True,
        },
        # A VM with a GPU cannot be moved while it runs, and Google makes none that says it could.
        **({"scheduling": {"onHostMaintenance": "TERMINATE"}} if cloud.machines.gpu else {}),
    }
