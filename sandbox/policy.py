"""IAM policies: who may do what, as far as the sandbox enforces it."""

import fnmatch
import re
from typing import Annotated, Any

from fastapi import Query

from sandbox.compute.instance import project_number
from sandbox.compute.names import fingerprint
from sandbox.errors import ApiError, invalid, not_implemented
from sandbox.world import World

Json = dict[str, Any]
Version = Annotated[int, Query(alias="options.requestedPolicyVersion")]
WITH_CONDITIONS = 3
OBJECT_READ = ("storage.objects.get", "storage.objects.list")
OBJECT_WRITE = ("storage.objects.create", "storage.objects.delete", "storage.objects.update")
ROLES: dict[str, tuple[str, ...]] = {
    "roles/owner": ("*",),
    "roles/storage.admin": ("storage.*",),
    "roles/storage.objectAdmin": ("storage.objects.*",),
    "roles/storage.objectUser": (*OBJECT_READ, *OBJECT_WRITE),
    "roles/storage.objectViewer": OBJECT_READ,
    "roles/storage.objectCreator": ("storage.objects.create",),
    "roles/storage.bucketViewer": ("storage.buckets.get", "storage.buckets.list"),
    "roles/storage.legacyObjectReader": ("storage.objects.get",),
    "roles/storage.legacyBucketReader": ("storage.buckets.get", "storage.objects.list"),
    "roles/storage.legacyBucketWriter": (
        "storage.buckets.get",
        "storage.objects.list",
        "storage.objects.create",
        "storage.objects.delete",
    ),
    "roles/compute.viewer": (
        "compute.*.get",
        "compute.*.list",
        "compute.*.getGuestAttributes",
        "compute.*.getSerialPortOutput",
    ),
    "roles/compute.instanceAdmin.v1": ("compute.instances.*", "compute.*.get", "compute.*.list"),
    "roles/compute.admin": ("compute.*",),
    "roles/iam.serviceAccountUser": ("iam.serviceAccounts.actAs",),
    "roles/artifactregistry.reader": ("artifactregistry.repositories.downloadArtifacts",),
    "roles/artifactregistry.writer": (
        "artifactregistry.repositories.downloadArtifacts",
        "artifactregistry.repositories.uploadArtifacts",
    ),
    "roles/artifactregistry.admin": ("artifactregistry.*",),
    "roles/logging.logWriter": ("logging.logEntries.create",),
    "roles/logging.viewer": ("logging.logEntries.list",),
    "roles/secretmanager.admin": ("secretmanager.*",),
    "roles/secretmanager.secretAccessor": ("secretmanager.versions.access",),
    "roles/secretmanager.secretVersionAdder": ("secretmanager.versions.add",),
    "roles/secretmanager.secretVersionManager": (
        "secretmanager.versions.add",
        "secretmanager.versions.destroy",
        "secretmanager.versions.disable",
        "secretmanager.versions.enable",
        "secretmanager.versions.get",
        "secretmanager.versions.list",
    ),
    "roles/secretmanager.viewer": (
        "secretmanager.secrets.get",
        "secretmanager.secrets.list",
        "secretmanager.versions.get",
        "secretmanager.versions.list",
    ),
}
STARTS_WITH = re.compile(r"""resource\.name\.startsWith\((["'])([^"']*)\1\)""")


def empty() -> Json:
    """Nobody may do anything, but the project's owner."""
    return {"version": 1, "etag": fingerprint([])}


def checked(given: Json, before: Json, stale: int) -> Json:
    """The policy as it is stored; `stale` is what the API answers to an etag of yesterday."""
    if given.get("etag") not in {None, "", before["etag"]}:
        raise ApiError(stale, "conditionNotMet", "There were concurrent policy changes. Please retry.")
    bindings = given.get("bindings") or []
    for binding in bindings:
        if not binding.get("role") or not isinstance(binding.get("members"), list):
            raise invalid("Invalid policy: a binding needs a role and members.")
        condition = (binding.get("condition") or {}).get("expression", "")
        if condition and not STARTS_WITH.fullmatch(condition.strip()):
            raise not_implemented(f"the IAM condition {condition}")
        if condition and given.get("version") != WITH_CONDITIONS:
            raise invalid("A policy with conditions must be of version 3.")
    policy: Json = {"version": given.get("version", 1), "etag": fingerprint(bindings)}
    return {**policy, "bindings": bindings} if bindings else policy


def granted(world: World, policy: Json, caller: str, permission: str, resource: str) -> bool:
    """Whether one of the bindings gives the caller the permission on the resource."""
    return any(
        caller in binding["members"]
        and _applies(binding, resource)
        and _gives(world, binding["role"], permission)
        for binding in policy.get("bindings", [])
    )


def _applies(binding: Json, resource: str) -> bool:
    expression = (binding.get("condition") or {}).get("expression", "")
    match = STARTS_WITH.fullmatch(expression.strip())
    return not expression or bool(match and resource.startswith(match[2]))


def _gives(world: World, role: str, permission: str) -> bool:
    own = world.roles.get(role, {})
    if own:
        return not own.get("deleted") and permission in own.get("includedPermissions", [])
    return any(fnmatch.fnmatchcase(permission, pattern) for pattern in ROLES.get(role, ()))


def may(world: World, caller: str, permission: str, project: str, own: Json, resource: str) -> bool:
    """By the resource's own policy or by its project's."""
    return (
        caller == world.settings.owner
        or granted(world, own, caller, permission, resource)
        or granted(world, world.policies.get(project_number(project), {}), caller, permission, resource)
    )


def demand(world: World, caller: str, permission: str, project: str, own: Json, resource: str) -> None:
    """403 unless the caller may."""
    if not may(world, caller, permission, project, own, resource):
        who = caller.partition(":")[2]
        raise ApiError(
            403,
            "forbidden",
            f"{who} does not have {permission} access to {resource}. "
            f"Permission '{permission}' denied on resource (or it may not exist).",
        )
