"""What protects models and the ledger, and who may do what: found against wanted, and what mends it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from releases.provisioning.described import CloudEnvironment
from releases.provisioning.gcloud import commands
from releases.provisioning.rights import is_ours
from releases.provisioning.seen import grants
from releases.provisioning.wanted import Action, Change, Difference, Json, Kind, Plan

PROTECTIONS = {
    "iamConfiguration.uniformBucketLevelAccess.enabled": "uniform access",
    "iamConfiguration.publicAccessPrevention": "public access prevention",
    "versioning.enabled": "versioning",
    "softDeletePolicy.retentionDurationSeconds": "soft delete",
    "retentionPolicy.retentionPeriod": "retention",
    "lifecycle.rule": "lifecycle",
}
PUBLIC = {"allUsers", "allAuthenticatedUsers"}


@dataclass(frozen=True)
class Protection:
    """One thing looked at. `fix`: the commands that mend it."""

    what: str
    ok: bool
    detail: str = ""
    fix: tuple[str, ...] = ()


def protections(
    cloud: CloudEnvironment,
    plan: Plan,
    policies: Mapping[str, Json],
    keys: Mapping[str, Iterable[str]],
) -> Iterator[Protection]:
    """Everything that protects. `policies` are the buckets' whole ones, `keys` each account's."""
    for change in plan.changes:
        if change.key.kind is Kind.bucket:
            yield from _bucket(cloud, change)
        elif change.key.kind is Kind.rights:
            yield _rights(cloud, change)
    for bucket, policy in policies.items():
        yield _public(cloud, bucket, policy)
    for email, names in keys.items():
        yield _keyless(cloud, email, tuple(names))


def _bucket(cloud: CloudEnvironment, change: Change) -> Iterator[Protection]:
    name = change.key.name
    if change.action is Action.create:
        yield Protection(f"bucket {name}", ok=False, detail="is not there", fix=_fix(cloud, change))
        return
    off = {one.path: one for one in change.fields}
    for path, called in PROTECTIONS.items():
        section = path.partition(".")[0]
        if section not in change.wanted.body:
            continue
        # Where a whole section is missing, the difference is the section's.
        found = off.get(path) or off.get(section) or off.get(path.rpartition(".")[0])
        if found is None:
            yield Protection(f"{called} of {name}", ok=True)
            continue
        alone = Change(change.wanted, Action.change, (found,))
        yield Protection(f"{called} of {name}", ok=False, detail=_was(found), fix=_fix(cloud, alone))


def _rights(cloud: CloudEnvironment, change: Change) -> Protection:
    what = f"rights on {change.key.name}"
    if change.action is Action.create:
        return Protection(what, ok=False, detail="none of ours", fix=_fix(cloud, change))
    wrong = [f"{'missing' if one.now is None else 'too much'}: {one.path}" for one in change.fields]
    return Protection(what, ok=not wrong, detail="; ".join(wrong), fix=_fix(cloud, change))


def _public(cloud: CloudEnvironment, bucket: str, policy: Json) -> Protection:
    """Nobody but us is to be judged, except everybody."""
    open_to = sorted(
        {one for one in grants(policy) if one.member in PUBLIC and not is_ours(cloud, one.member)}
    )
    remove = f"gcloud storage buckets remove-iam-policy-binding gs://{bucket} --condition=None"
    taken = [f"{remove} --member={one.member} --role={one.role} --project={cloud.project}" for one in open_to]
    said = "; ".join(str(one) for one in open_to)
    return Protection(f"nobody unknown reads {bucket}", ok=not open_to, detail=said, fix=tuple(taken))


def _keyless(cloud: CloudEnvironment, email: str, names: tuple[str, ...]) -> Protection:
    """A key is a password that never expires; attached accounts and identity federation need none."""
    taken = tuple(
        f"gcloud iam service-accounts keys delete {name} --iam-account={email} --project={cloud.project}"
        for name in names
    )
    said = f"{len(names)} made by people" if names else ""
    return Protection(f"no key of {email}", ok=not names, detail=said, fix=taken)


def _fix(cloud: CloudEnvironment, change: Change) -> tuple[str, ...]:
    """The commands; those that need a file are the plan's business."""
    found = list(commands(cloud, change))
    if any(one.files for one in found):
        return (f"model-deploy provision --environment {cloud.name}",)
    return tuple(str(one) for one in found)


def _was(found: Difference) -> str:
    return f"{found.now if found.now is not None else 'off'}, not {found.then}"
