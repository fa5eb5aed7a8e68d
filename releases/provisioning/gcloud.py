"""The same plan as gcloud commands, for people whose rules forbid a tool to apply it."""

import json
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from releases.provisioning.described import CloudEnvironment
from releases.provisioning.gcloud_by_hand import by_hand
from releases.provisioning.rights import Grant
from releases.provisioning.wanted import Action, Change, Json, Kind, Plan

ROLE_FIELDS = {"title": "title", "stage": "stage", "includedPermissions": "permissions"}


@dataclass(frozen=True)
class Command:
    """One command, and the files that it reads, by name."""

    argv: tuple[str, ...]
    files: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        return shlex.join(self.argv)


def script(cloud: CloudEnvironment, plan: Plan) -> Iterator[str]:
    """A shell script that does what an apply would do; what is left to people is a comment."""
    yield "set -eu"
    yield 'cd "$(mktemp -d)"'
    for change in plan.changes:
        for command in commands(cloud, change):
            for name, content in command.files.items():
                yield f"printf %s {shlex.quote(content)} > {shlex.quote(name)}"
            yield str(command)
        yield from (f"# by hand: {line}" for line in by_hand(cloud, change))


def commands(cloud: CloudEnvironment, change: Change) -> Iterator[Command]:
    """What to type for one change."""
    if change.action not in {Action.create, Action.change}:
        return
    for command in COMMANDS[change.key.kind](cloud, change):
        yield Command((*command.argv, f"--project={cloud.project}"), command.files)


def _gcloud(*words: str, files: Mapping[str, str] | None = None) -> Command:
    return Command(("gcloud", *words, "--quiet"), files or {})


def _fields(change: Change) -> Json:
    """What to say: everything of a new resource, of another what differs."""
    names = {one.path.partition(".")[0] for one in change.fields}
    body = change.wanted.body
    return body if change.action is Action.create else {name: body[name] for name in body if name in names}


def _api(_: CloudEnvironment, change: Change) -> Iterator[Command]:
    yield _gcloud("services", "enable", change.key.name)


def _account(_: CloudEnvironment, change: Change) -> Iterator[Command]:
    fields, email = _fields(change), change.key.name
    where = ("iam", "service-accounts")
    if change.action is Action.create:
        yield _gcloud(*where, "create", email.partition("@")[0], f"--display-name={fields['displayName']}")
        return
    if "disabled" in fields:
        yield _gcloud(*where, "enable", email)
    if "displayName" in fields:
        yield _gcloud(*where, "update", email, f"--display-name={fields['displayName']}")


def _role(_: CloudEnvironment, change: Change) -> Iterator[Command]:
    fields = _fields(change)
    values = {flag: fields[name] for name, flag in ROLE_FIELDS.items() if name in fields}
    flags = [
        f"--{flag}={','.join(value) if isinstance(value, list) else value}" for flag, value in values.items()
    ]
    yield _gcloud("iam", "roles", _verb(change), change.key.name, *flags)


def _secret(_: CloudEnvironment, change: Change) -> Iterator[Command]:
    yield _gcloud("secrets", "create", change.key.name, "--replication-policy=automatic")


def _repository(cloud: CloudEnvironment, change: Change) -> Iterator[Command]:
    fields, name, region = _fields(change), change.key.name, f"--location={cloud.region}"
    where = ("artifacts", "repositories")
    described = f"--description={fields.get('description', '')}"
    if change.action is Action.create:
        yield _gcloud(*where, "create", name, region, "--repository-format=docker", described)
    elif "description" in fields:
        yield _gcloud(*where, "update", name, region, described)
    if "cleanupPolicies" in fields or "cleanupPolicyDryRun" in fields:
        policies = change.wanted.body["cleanupPolicies"].values()
        said = [
            {
                "name": one["id"],
                **{k: v for k, v in one.items() if k != "id"},
                "action": {"type": one["action"]},
            }
            for one in policies
        ]
        file = f"{name}-cleanup.json"
        yield _gcloud(
            *where, "set-cleanup-policies", name, region, f"--policy={file}", "--no-dry-run",
            files={file: json.dumps(said)},
        )  # fmt: skip


def _bucket(_: CloudEnvironment, change: Change) -> Iterator[Command]:
    fields, url = _fields(change), f"gs://{change.key.name}"
    flags: list[str] = []
    access = fields.get("iamConfiguration")
    if access:
        flags += ["--uniform-bucket-level-access", "--public-access-prevention"]
    if "softDeletePolicy" in fields:
        flags.append(f"--soft-delete-duration={fields['softDeletePolicy']['retentionDurationSeconds']}s")
    if "retentionPolicy" in fields:
        flags.append(f"--retention-period={fields['retentionPolicy']['retentionPeriod']}s")
    file = f"{change.key.name}-lifecycle.json"
    files = {file: json.dumps(fields["lifecycle"])} if "lifecycle" in fields else {}
    flags += [f"--lifecycle-file={file}"] if files else []
    more: list[str] = []  # what `create` does not know
    if "versioning" in fields:
        more.append("--versioning" if fields["versioning"]["enabled"] else "--no-versioning")
    if "labels" in fields:
        more.append(f"--update-labels={_pairs(fields['labels'])}")
    if change.action is Action.create:
        place = [f"--location={fields['location']}", f"--default-storage-class={fields['storageClass']}"]
        yield _gcloud("storage", "buckets", "create", url, *place, *flags, files=files)
        yield _gcloud("storage", "buckets", "update", url, *more)
    else:
        yield _gcloud("storage", "buckets", "update", url, *flags, *more, files=files)


def _pool(_: CloudEnvironment, change: Change) -> Iterator[Command]:
    fields = _fields(change)
    named = [f"--display-name={fields['displayName']}"] if "displayName" in fields else []
    on = ["--no-disabled"] if "disabled" in fields and change.action is Action.change else []
    pools = ("iam", "workload-identity-pools")
    yield _gcloud(*pools, _verb(change), change.key.name, "--location=global", *named, *on)


def _provider(_: CloudEnvironment, change: Change) -> Iterator[Command]:
    pool, _slash, name = change.key.name.partition("/")
    fields = _fields(change)
    flags = ["--location=global", f"--workload-identity-pool={pool}"]
    if "displayName" in fields:
        flags.append(f"--display-name={fields['displayName']}")
    if "disabled" in fields and change.action is Action.change:
        flags.append("--no-disabled")
    if "attributeMapping" in fields:
        flags.append(f"--attribute-mapping={_pairs(fields['attributeMapping'])}")
    if "attributeCondition" in fields:
        flags.append(f"--attribute-condition={fields['attributeCondition']}")
    if "oidc" in fields:
        flags.append(f"--issuer-uri={fields['oidc']['issuerUri']}")
    yield _gcloud("iam", "workload-identity-pools", "providers", f"{_verb(change)}-oidc", name, *flags)


def _rights(cloud: CloudEnvironment, change: Change) -> Iterator[Command]:
    kind, _, name = change.key.name.partition(" ")
    if change.action is Action.create:
        more, less = [Grant(**one) for one in change.wanted.body.values()], []
    else:
        more = [Grant(**one.then) for one in change.fields if one.then is not None]
        less = [Grant(**one.now) for one in change.fields if one.then is None]
    for verb, grants in (("add", more), ("remove", less)):
        for grant in grants:
            yield _gcloud(*_policy(cloud, kind, name, verb), *_binding(grant))


def _policy(cloud: CloudEnvironment, kind: str, name: str, verb: str) -> tuple[str, ...]:
    change = f"{verb}-iam-policy-binding"
    return {
        "project": ("projects", change, name),
        "repository": ("artifacts", "repositories", change, name, f"--location={cloud.region}"),
        "bucket": ("storage", "buckets", change, f"gs://{name}"),
        "secret": ("secrets", change, name),
        "account": ("iam", "service-accounts", change, name),
    }[kind]


def _binding(grant: Grant) -> tuple[str, ...]:
    said = grant.condition
    condition = f"expression={said['expression']},title={said['title']}" if said else "None"
    return (f"--member={grant.member}", f"--role={grant.role}", f"--condition={condition}")


def _subnetwork(cloud: CloudEnvironment, change: Change) -> Iterator[Command]:
    words = ("compute", "networks", "subnets", "update", change.key.name)
    yield _gcloud(*words, f"--region={cloud.region}", "--enable-private-ip-google-access")


def _firewall(_: CloudEnvironment, change: Change) -> Iterator[Command]:
    fields = _fields(change)
    flags: list[str] = []
    if change.action is Action.create:
        flags += [f"--network={fields['network']}", f"--direction={fields['direction']}"]
    if "allowed" in fields:
        ports = [f"{one['IPProtocol']}:{port}" for one in fields["allowed"] for port in one["ports"]]
        flags.append(f"--allow={','.join(ports)}")
    if "sourceRanges" in fields:
        flags.append(f"--source-ranges={','.join(fields['sourceRanges'])}")
    if "targetServiceAccounts" in fields:
        flags.append(f"--target-service-accounts={','.join(fields['targetServiceAccounts'])}")
    if "priority" in fields:
        flags.append(f"--priority={fields['priority']}")
    if "description" in fields:
        flags.append(f"--description={fields['description']}")
    if "disabled" in fields and change.action is Action.change:
        flags.append("--no-disabled")
    yield _gcloud("compute", "firewall-rules", _verb(change), change.key.name, *flags)


def _vm(cloud: CloudEnvironment, change: Change) -> Iterator[Command]:
    fields, name, zone = _fields(change), change.key.name, f"--zone={cloud.zone}"
    metadata = dict(fields.get("metadata", {}))
    file = f"{name}-cloud-init.yaml"
    files = {file: metadata.pop("user-data")} if "user-data" in metadata else {}
    said = [f"--metadata={_pairs(metadata)}"] if metadata else []
    said += [f"--metadata-from-file=user-data={file}"] if files else []
    if change.action is Action.create:
        said += ["--maintenance-policy=TERMINATE"] if cloud.machines.gpu else []
        yield _gcloud("compute", "instances", "create", name, zone, *_new_vm(fields), *said, files=files)
        return
    if said:
        yield _gcloud("compute", "instances", "add-metadata", name, zone, *said, files=files)
    if "labels" in fields:
        labels = f"--labels={_pairs(fields['labels'])}"
        yield _gcloud("compute", "instances", "add-labels", name, zone, labels)
    if "status" in fields:
        yield _gcloud("compute", "instances", "start", name, zone)


def _new_vm(body: Json) -> list[str]:
    return [
        f"--machine-type={body['machineType']}",
        "--image-project=cos-cloud",
        f"--image-family={body['imageFamily']}",
        f"--boot-disk-size={body['diskSizeGb']}GB",
        f"--subnet={body['subnetwork']}",
        *([] if body["externalIp"] else ["--no-address"]),
        f"--service-account={body['serviceAccount']}",
        "--scopes=cloud-platform",
        "--shielded-secure-boot",
        f"--labels={_pairs(body['labels'])}",
    ]


def _pairs(values: Mapping[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in values.items())


def _verb(change: Change) -> str:
    return "create" if change.action is Action.create else "update"


COMMANDS: dict[Kind, Callable[[CloudEnvironment, Change], Iterator[Command]]] = {
    Kind.api: _api,
    Kind.account: _account,
    Kind.role: _role,
    Kind.secret: _secret,
    Kind.repository: _repository,
    Kind.bucket: _bucket,
    Kind.pool: _pool,
    Kind.provider: _provider,
    Kind.rights: _rights,
    Kind.subnetwork: _subnetwork,
    Kind.firewall: _firewall,
    Kind.vm: _vm,
}
