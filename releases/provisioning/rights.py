"""Who may do what: the grants, one list for each resource that has a policy."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from releases.provisioning.described import CloudEnvironment
from releases.provisioning.wanted import Json, Key, Kind, Wanted

DEPLOYER_ROLE = "modelDeployDeployer"
GROUP_ROLE = "modelDeployGroupDeployer"


@dataclass(frozen=True, order=True)
class Grant:
    """One role for one member, on the resources whose names begin so, where that is said."""

    role: str
    member: str
    prefix: str = ""

    def __str__(self) -> str:
        only = f" only on {self.prefix}*" if self.prefix else ""
        return f"{self.role} to {self.member}{only}"

    @property
    def condition(self) -> Json | None:
        """The condition as IAM has it."""
        if not self.prefix:
            return None
        title = f"only {self.prefix.rpartition('/objects/')[2].rpartition('/instances/')[2]}"
        return {"title": title, "expression": f'resource.name.startsWith("{self.prefix}")'}


def account(email: str) -> str:
    """The account as a member of a policy."""
    return f"serviceAccount:{email}"


def wanted_rights(cloud: CloudEnvironment, number: str) -> Iterator[Wanted]:
    """The policies' grants; `number` is the project's, which GitHub's identities are named with."""
    node, builder, deployer = (account(one) for one in (cloud.node, cloud.builder, cloud.deployer))
    models, data = (f"projects/_/buckets/{name}/objects" for name in (cloud.models_bucket, cloud.data_bucket))
    vms = f"projects/{cloud.project}/zones/{cloud.zone}/instances/{cloud.vm_prefix}"
    # IAM has no condition on a group's name, so that this one holds for every group of the project:
    # https://cloud.google.com/iam/docs/conditions-resource-attributes.
    own = f"projects/{cloud.project}/roles"
    groups = [Grant(f"{own}/{GROUP_ROLE}", deployer)] if cloud.machines.group else []
    yield _rights(
        "project",
        cloud.project,
        Grant("roles/logging.logWriter", node),
        Grant("roles/compute.viewer", deployer),
        Grant(f"{own}/{DEPLOYER_ROLE}", deployer, vms),
        *groups,
    )
    yield _rights(
        "repository",
        cloud.repository,
        Grant("roles/artifactregistry.reader", node),
        Grant("roles/artifactregistry.writer", builder),
        Grant("roles/artifactregistry.writer", deployer),
    )
    # Overwriting takes `storage.objects.delete`, which neither of these roles has.
    yield _rights(
        "bucket",
        cloud.models_bucket,
        Grant("roles/storage.objectViewer", node, f"{models}/models/"),
        Grant("roles/storage.objectViewer", deployer),
        Grant("roles/storage.objectCreator", deployer),
    )
    yield _rights(
        "bucket",
        cloud.data_bucket,
        Grant("roles/storage.objectCreator", node, f"{data}/logs/"),
        Grant("roles/storage.objectUser", deployer),
    )
    for secret in cloud.secrets:
        yield _rights(
            "secret",
            secret,
            Grant("roles/secretmanager.secretAccessor", node),
            Grant("roles/secretmanager.viewer", deployer),
        )
    for secret in cloud.written_by_the_worker:
        renewed = secret in cloud.certificates  # the account's key stays
        yield _rights(
            "secret",
            secret,
            *([Grant("roles/secretmanager.secretAccessor", node)] if renewed else []),
            Grant("roles/secretmanager.secretAccessor", deployer),
            Grant(f"roles/secretmanager.secretVersion{'Manager' if renewed else 'Adder'}", deployer),
            Grant("roles/secretmanager.viewer", deployer),
        )
    # Who sets the metadata of a VM with a service account must be allowed to act as that account.
    yield _rights("account", cloud.node, Grant("roles/iam.serviceAccountUser", deployer))
    if cloud.github:
        runs = (principals(number, cloud.pool) + f"/attribute.repository/{one}" for one in cloud.github)
        yield _rights(
            "account", cloud.builder, *(Grant("roles/iam.workloadIdentityUser", one) for one in runs)
        )


def principals(number: str, pool: str) -> str:
    """How all identities of a pool begin as members."""
    return (
        f"principalSet://iam.googleapis.com/projects/{number}/locations/global/workloadIdentityPools/{pool}"
    )


def _rights(on: str, name: str, *grants: Grant) -> Wanted:
    return Wanted(Key(Kind.rights, f"{on} {name}"), as_body(grants), exact=True)


def as_body(grants: Iterable[Grant]) -> Json:
    """Grants by what they say, so that a difference names exactly one."""
    return {
        str(one): {"role": one.role, "member": one.member, "prefix": one.prefix} for one in sorted(grants)
    }


def is_ours(cloud: CloudEnvironment, member: str) -> bool:
    """Whether the environment speaks for this member: what others have been granted is not our business."""
    ours = {account(one) for one in (cloud.node, cloud.builder, cloud.deployer)}
    return member in ours or f"/workloadIdentityPools/{cloud.pool}/" in member
