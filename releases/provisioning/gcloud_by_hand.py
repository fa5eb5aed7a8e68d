"""What no apply does, because it costs an outage or cannot be undone: the commands, for people to decide."""

import shlex
from collections.abc import Iterator

from releases.provisioning.described import CloudEnvironment
from releases.provisioning.wanted import Change, Kind


def by_hand(cloud: CloudEnvironment, change: Change) -> Iterator[str]:
    """A line for each field that an apply leaves alone."""
    for field in change.by_hand:
        command = _command(cloud, change, field.path)
        differs = f"{change.key}: {field.path or 'it'} is {field.now!r}, not {field.then!r}"
        said = shlex.join([*command, f"--project={cloud.project}"])
        yield said if command else f"{differs}; that cannot be changed, only made anew"


def _command(cloud: CloudEnvironment, change: Change, path: str) -> list[str]:
    name, body, zone = change.key.name, change.wanted.body, f"--zone={cloud.zone}"
    if change.key.kind is Kind.vm and path == "machineType":
        # The VM must be stopped for it, and started afterwards: `provision` starts it.
        stopped = ["gcloud", "compute", "instances", "set-machine-type", name, zone]
        return [*stopped, f"--machine-type={body['machineType']}"]
    if change.key.kind is Kind.vm and path == "serviceAccount":
        stopped = ["gcloud", "compute", "instances", "set-service-account", name, zone]
        return [*stopped, f"--service-account={body['serviceAccount']}", "--scopes=cloud-platform"]
    if change.key.kind is Kind.vm and path == "diskSizeGb":
        return ["gcloud", "compute", "disks", "resize", name, zone, f"--size={body['diskSizeGb']}GB"]
    if change.key.kind is Kind.role and path == "deleted":
        return ["gcloud", "iam", "roles", "undelete", name]
    if change.key.kind is Kind.pool:
        return ["gcloud", "iam", "workload-identity-pools", "undelete", name, "--location=global"]
    if change.key.kind is Kind.provider:
        pool, _, provider = name.partition("/")
        undelete = ["gcloud", "iam", "workload-identity-pools", "providers", "undelete", provider]
        return [*undelete, f"--workload-identity-pool={pool}", "--location=global"]
    if change.key.kind is Kind.subnetwork:
        made = ["gcloud", "compute", "networks", "subnets", "create", name, f"--network={cloud.network}"]
        return [*made, f"--region={cloud.region}", "--range=RANGE", "--enable-private-ip-google-access"]
    return []
