"""From a description to everything that is wanted."""

from collections.abc import Iterator

from releases.node_boot.user_data import NodeBoot, node_user_data
from releases.provisioning.described import CloudEnvironment
from releases.provisioning.rights import DEPLOYER_ROLE, GROUP_ROLE, wanted_rights
from releases.provisioning.wanted import Json, Key, Kind, Wanted

APIS = (
    "artifactregistry",
    "cloudresourcemanager",
    "compute",
    "iam",
    "iamcredentials",
    "logging",
    "secretmanager",
    "storage",
    "sts",
)
DAY = 24 * 3600
# The flows put this before ENVIRONMENT-NUMBER as a tag on every image that they release.
RELEASED = "release-"
RECENT_IMAGES = 20
GITHUB_ISSUER = "https://token.actions.githubusercontent.com"
DONE_BY = {"managed-by": "model-deploy"}


def wanted(cloud: CloudEnvironment, number: str) -> list[Wanted]:
    """Every resource, in no particular order. `number` is the project's. Raises BadInput."""
    return [
        *(Wanted(Key(Kind.api, f"{name}.googleapis.com"), {"state": "ENABLED"}) for name in APIS),
        *_accounts(cloud),
        _role(DEPLOYER_ROLE, "model-deploy: tells VMs what to run", "compute.instances.setMetadata"),
        *((_group_role(),) if cloud.machines.group else ()),
        *(_secret(name) for name in (*cloud.secrets, *cloud.written_by_the_worker)),
        _repository(cloud),
        _models_bucket(cloud),
        _data_bucket(cloud),
        *(_github(cloud) if cloud.github else ()),
        *wanted_rights(cloud, number),
        *(() if cloud.machines.external_ip else (_subnetwork(cloud),)),
        _firewall(cloud),
        *(_vm(cloud, name) for name in cloud.vms),
    ]


def _accounts(cloud: CloudEnvironment) -> Iterator[Wanted]:
    jobs = {cloud.node: "runs services", cloud.builder: "pushes images", cloud.deployer: "releases"}
    for email, job in jobs.items():
        body = {"displayName": f"model-deploy {cloud.name}: {job}", "disabled": False}
        yield Wanted(Key(Kind.account, email), body)


def _role(name: str, title: str, permission: str) -> Wanted:
    body = {"title": title, "stage": "GA", "includedPermissions": [permission], "deleted": False}
    return Wanted(Key(Kind.role, name), body, fixed=frozenset({"deleted"}))


def _group_role() -> Wanted:
    """A group's configuration is changed and applied with one permission, and the group does the rest."""
    return _role(
        GROUP_ROLE, "model-deploy: tells groups what their VMs run", "compute.instanceGroupManagers.update"
    )


def _secret(name: str) -> Wanted:
    return Wanted(
        Key(Kind.secret, name), {"replication": {"automatic": {}}}, fixed=frozenset({"replication"})
    )


def _repository(cloud: CloudEnvironment) -> Wanted:
    old = f"{cloud.keep.images * DAY}s"
    policies: Json = {
        "keep-released": {
            "id": "keep-released",
            "action": "KEEP",
            "condition": {"tagState": "TAGGED", "tagPrefixes": [RELEASED]},
        },
        "keep-recent": {
            "id": "keep-recent",
            "action": "KEEP",
            "mostRecentVersions": {"keepCount": RECENT_IMAGES},
        },
        "delete-old": {
            "id": "delete-old",
            "action": "DELETE",
            "condition": {"tagState": "ANY", "olderThan": old},
        },
    }
    body = {
        "format": "DOCKER",
        "description": "Images of model services, by digest",
        "cleanupPolicies": policies,
        "cleanupPolicyDryRun": False,
    }
    return Wanted(Key(Kind.repository, cloud.repository), body, fixed=frozenset({"format"}))


def _bucket(cloud: CloudEnvironment, name: str, more: Json) -> Wanted:
    body = {
        "location": cloud.region.upper(),
        "storageClass": "STANDARD",
        "iamConfiguration": {
            "uniformBucketLevelAccess": {"enabled": True},
            "publicAccessPrevention": "enforced",
        },
        "softDeletePolicy": {"retentionDurationSeconds": str(cloud.keep.deleted * DAY)},
        "labels": DONE_BY,
        **more,
    }
    return Wanted(Key(Kind.bucket, name), body, fixed=frozenset({"location", "storageClass"}))


def _models_bucket(cloud: CloudEnvironment) -> Wanted:
    """Retention and not versioning: Cloud Storage takes only one of them, and here nothing may change."""
    more = {
        "versioning": {"enabled": False},
        "retentionPolicy": {"retentionPeriod": str(cloud.keep.models * DAY)},
        "lifecycle": {"rule": [_abandoned_uploads()]},
    }
    return _bucket(cloud, cloud.models_bucket, more)


def _data_bucket(cloud: CloudEnvironment) -> Wanted:
    logs = {"matchesPrefix": ["logs/"]}
    rules = [
        _abandoned_uploads(),
        {
            "action": {"type": "SetStorageClass", "storageClass": "COLDLINE"},
            "condition": {"age": cloud.keep.logs_warm, **logs},
        },
        {"action": {"type": "Delete"}, "condition": {"age": cloud.keep.logs, **logs}},
        {"action": {"type": "Delete"}, "condition": {"daysSinceNoncurrentTime": cloud.keep.deleted}},
    ]
    more = {"versioning": {"enabled": True}, "lifecycle": {"rule": rules}}
    return _bucket(cloud, cloud.data_bucket, more)


def _abandoned_uploads() -> Json:
    return {"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": 7}}


def _github(cloud: CloudEnvironment) -> Iterator[Wanted]:
    body: Json = {"displayName": f"model-deploy {cloud.name}"[:32], "disabled": False, "state": "ACTIVE"}
    yield Wanted(Key(Kind.pool, cloud.pool), body, fixed=frozenset({"state"}))
    ours = ", ".join(f"'{one}'" for one in sorted(cloud.github))
    provider = {
        **body,
        "attributeMapping": {
            "google.subject": "assertion.sub",
            "attribute.repository": "assertion.repository",
        },
        "attributeCondition": f"assertion.repository in [{ours}]",
        "oidc": {"issuerUri": GITHUB_ISSUER},
    }
    yield Wanted(Key(Kind.provider, f"{cloud.pool}/github"), provider, fixed=frozenset({"state"}))


def _subnetwork(cloud: CloudEnvironment) -> Wanted:
    """VMs without an external address reach the registry and the buckets this way only."""
    return Wanted(Key(Kind.subnetwork, cloud.subnet), {"privateIpGoogleAccess": True}, theirs=True)


def _firewall(cloud: CloudEnvironment) -> Wanted:
    ports = sorted({*cloud.ports, *cloud.tls_ports})
    body = {
        "description": "The public ports of the services, and nothing else",
        "network": cloud.network,
        "direction": "INGRESS",
        "priority": 1000,
        "disabled": False,
        "allowed": [{"IPProtocol": "tcp", "ports": [str(port) for port in ports]}],
        "sourceRanges": sorted(str(one) for one in cloud.sources),
        "targetServiceAccounts": [cloud.node],
    }
    return Wanted(
        Key(Kind.firewall, f"{cloud.name}-services"), body, fixed=frozenset({"network", "direction"})
    )


def user_data(cloud: CloudEnvironment) -> str:
    """What the VMs boot into. Raises BadInput."""
    machines = cloud.machines
    boot = NodeBoot(
        machines.agent_image,
        machines.edge_image,
        cloud.registry,
        tuple(sorted(set(cloud.ports))),
        cloud.data_bucket,
        cloud.models_bucket,
        tuple(sorted(set(cloud.tls_ports))),
        machines.gpu,
    )
    return node_user_data(boot)


def _vm(cloud: CloudEnvironment, name: str) -> Wanted:
    machines = cloud.machines
    body = {
        "machineType": machines.type,
        "imageFamily": machines.image_family,
        "diskSizeGb": str(machines.disk_gb),
        "network": cloud.network,
        "subnetwork": cloud.subnet,
        "externalIp": machines.external_ip,
        "serviceAccount": cloud.node,
        "status": "RUNNING",
        "labels": {**DONE_BY, "environment": cloud.name},
        "metadata": {
            "enable-guest-attributes": "TRUE",
            "google-logging-enabled": "true",
            "user-data": user_data(cloud),
        },
    }
    stopped_for = {"machineType", "diskSizeGb", "network", "subnetwork", "externalIp", "serviceAccount"}
    return Wanted(Key(Kind.vm, name), body, fixed=frozenset(stopped_for))
