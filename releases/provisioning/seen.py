"""What an API says of a resource, in the words of its wanted body, so that the two can be compared."""

from collections.abc import Callable, Iterable

from releases.provisioning.described import CloudEnvironment
from releases.provisioning.rights import Grant, as_body, is_ours
from releases.provisioning.wanted import Json, Kind, Wanted

STARTS = 'resource.name.startsWith("'
COMING_UP = {"PROVISIONING", "STAGING", "RUNNING", "REPAIRING"}


def seen(wanted: Wanted, found: Json) -> Json:
    """The found resource in the wanted one's words. What an API leaves out where it is false is said."""
    return VIEWS.get(wanted.key.kind, _as_it_is)(wanted.body, found)


def seen_rights(cloud: CloudEnvironment, policy: Json) -> Json:
    """The policy's grants to our own identities."""
    return as_body(one for one in grants(policy) if is_ours(cloud, one.member))


def grants(policy: Json) -> Iterable[Grant]:
    """Every grant of a policy. A condition of another form than ours is kept as it is said."""
    for binding in policy.get("bindings", []):
        expression = (binding.get("condition") or {}).get("expression", "").strip()
        ours = expression.startswith(STARTS) and expression.endswith('")')
        prefix = expression[len(STARTS) : -2] if ours else expression
        for member in binding.get("members", []):
            yield Grant(binding["role"], member, prefix)


def last(link: object) -> str:
    """The name at the end of a link."""
    return str(link or "").rpartition("/")[2]


def _as_it_is(wanted: Json, found: Json) -> Json:
    return {**{name: value for name, value in wanted.items() if value is False}, **found}


def _sorted_permissions(wanted: Json, found: Json) -> Json:
    return _as_it_is(wanted, {**found, "includedPermissions": sorted(found.get("includedPermissions") or [])})


def _bucket(wanted: Json, found: Json) -> Json:
    view: Json = {"versioning": {"enabled": False}, **found, "location": str(found["location"]).upper()}
    kept, shall = found.get("retentionPolicy") or {}, wanted.get("retentionPolicy") or {}
    if kept.get("isLocked") and int(kept["retentionPeriod"]) >= int(shall.get("retentionPeriod", 0)):
        view["retentionPolicy"] = shall  # nobody can shorten it, and longer protects as well
    return view


def _firewall(_: Json, found: Json) -> Json:
    allowed = [
        {**one, "ports": sorted(one.get("ports", []), key=_first_port)} for one in found.get("allowed", [])
    ]
    return {
        **found,
        "description": found.get("description", ""),
        "network": last(found.get("network")),
        "allowed": allowed,
        "sourceRanges": sorted(found.get("sourceRanges") or []),
        "targetServiceAccounts": sorted(found.get("targetServiceAccounts") or []),
    }


def _first_port(ports: str) -> int:
    """A port, or a range of them such as 8000-8010."""
    return int(ports.partition("-")[0])


def _vm(wanted: Json, found: Json) -> Json:
    interface = (found.get("networkInterfaces") or [{}])[0]
    disk = (found.get("disks") or [{}])[0]
    accounts = found.get("serviceAccounts") or [{}]
    items = (found.get("metadata") or {}).get("items", [])
    return {
        "machineType": last(found.get("machineType")),
        "imageFamily": wanted["imageFamily"],  # no VM says what its disk was made from
        "diskSizeGb": str(disk.get("diskSizeGb", "")),
        "network": last(interface.get("network")),
        "subnetwork": last(interface.get("subnetwork")),
        "externalIp": bool(interface.get("accessConfigs")),
        "serviceAccount": accounts[0].get("email", ""),
        "status": "RUNNING" if found.get("status") in COMING_UP else found.get("status"),
        "labels": found.get("labels") or {},
        "metadata": {item["key"]: item.get("value", "") for item in items},
    }


VIEWS: dict[Kind, Callable[[Json, Json], Json]] = {
    Kind.role: _sorted_permissions,
    Kind.bucket: _bucket,
    Kind.firewall: _firewall,
    Kind.vm: _vm,
}
