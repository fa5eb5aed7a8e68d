"""IAM policies, wherever they are kept: read, changed as little as possible, written if nobody was faster."""

from dataclasses import dataclass
from typing import Any

from blocks.provisioning.google_rest import GoogleRest
from releases.provisioning.described import CloudEnvironment
from releases.provisioning.rights import Grant
from releases.provisioning.seen import grants, seen_rights
from releases.provisioning.wanted import Change, Json, Wanted

WITH_CONDITIONS = 3  # the version; read as an older one, a policy loses its conditions when written back


@dataclass(frozen=True)
class _Where:
    """Where a policy is, and how its API wants to be asked."""

    api: str
    path: str
    reads_by_post: bool = False


class Rights:
    """Who may do what with each resource; names are `bucket NAME`, `project NAME` and so on."""

    def __init__(self, api: GoogleRest, cloud: CloudEnvironment) -> None:
        self.api = api
        self.cloud = cloud

    def find(self, wanted: Wanted) -> Json | None:
        """The grants to our own identities; None where there is no such resource."""
        policy = self.policy(wanted.key.name)
        return None if policy is None else seen_rights(self.cloud, policy)

    def create(self, wanted: Wanted) -> None:
        """Grant all of it: the resource was not there when it was looked for."""
        self._write(wanted.key.name, [Grant(**one) for one in wanted.body.values()], [])

    def change(self, change: Change) -> None:
        """Grant what is missing, take away what is ours and not wanted."""
        more = [Grant(**one.then) for one in change.fields if one.then is not None]
        less = [Grant(**one.now) for one in change.fields if one.then is None]
        self._write(change.key.name, more, less)

    def policy(self, name: str) -> Json | None:
        """The whole policy."""
        where, what = self._where(name), f"look up the rights on {name}"
        if where.api == "storage":
            return self.api.get(what, where.api, where.path, optionsRequestedPolicyVersion=WITH_CONDITIONS)
        path = f"{where.path}:getIamPolicy"
        if where.api == "cloudresourcemanager":
            body = {"options": {"requestedPolicyVersion": WITH_CONDITIONS}}
            return self.api.send("POST", what, where.api, path, body)
        method = "POST" if where.reads_by_post else "GET"
        version: dict[str, Any] = {"options.requestedPolicyVersion": WITH_CONDITIONS}
        return self.api.get(what, where.api, path, method=method, **version)

    def _write(self, name: str, more: list[Grant], less: list[Grant]) -> None:
        where, what = self._where(name), f"change the rights on {name}"
        policy = with_grants(self.policy(name) or {}, more, less)
        if where.api == "storage":
            self.api.send("PUT", what, where.api, where.path, policy)
        else:
            self.api.send("POST", what, where.api, f"{where.path}:setIamPolicy", {"policy": policy})

    def _where(self, name: str) -> _Where:
        kind, _, called = name.partition(" ")
        project = f"projects/{self.cloud.project}"
        region = f"{project}/locations/{self.cloud.region}"
        return {
            "project": _Where("cloudresourcemanager", f"/v3/{project}"),
            "repository": _Where("artifactregistry", f"/v1/{region}/repositories/{called}"),
            "bucket": _Where("storage", f"/storage/v1/b/{called}/iam"),
            "secret": _Where("secretmanager", f"/v1/{project}/secrets/{called}"),
            "account": _Where("iam", f"/v1/{project}/serviceAccounts/{called}", reads_by_post=True),
        }[kind]


def with_grants(policy: Json, more: list[Grant], less: list[Grant]) -> Json:
    """The policy with these grants and without those; bindings of others stay word for word."""
    gone = set(less)
    bindings = []
    for binding in policy.get("bindings", []):
        alone = [
            member
            for member in binding.get("members", [])
            if not gone & set(grants({"bindings": [{**binding, "members": [member]}]}))
        ]
        if alone:
            bindings.append({**binding, "members": alone})
    for grant in more:
        condition = {"condition": grant.condition} if grant.condition else {}
        bindings.append({"role": grant.role, "members": [grant.member], **condition})
    kept = {name: value for name, value in policy.items() if name in {"etag", "auditConfigs"}}
    return {**kept, "version": WITH_CONDITIONS, "bindings": bindings}
