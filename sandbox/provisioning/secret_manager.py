"""Secret Manager: secrets and their versions."""

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import Annotated

import google_crc32c
from fastapi import APIRouter, Query

from sandbox import policy
from sandbox.compute.instance import project_number
from sandbox.errors import ApiError, already_exists, invalid, not_found, not_implemented
from sandbox.provisioning.listing import Asked
from sandbox.routing import Atomic, Caller, Here, Json, Resource
from sandbox.world import World

router = APIRouter(route_class=Atomic)
ALL = "/v1/projects/{project}/secrets"
ONE = ALL + "/{name}"
NAME = re.compile(r"[-_a-zA-Z0-9]{1,255}")
MOST = 64 * 1024


@dataclass
class Secret:
    """A secret; its versions are numbered from 1."""

    resource: Json
    policy: Json = field(default_factory=policy.empty)
    versions: list[tuple[Json, bytes]] = field(default_factory=list)


def _find(world: World, caller: str, permission: str, project: str, name: str) -> Secret:
    number = project_number(project)
    found = world.secrets.get((number, name))
    own = found.policy if found else {}
    full = f"projects/{number}/secrets/{name}"
    policy.demand(world, caller, f"secretmanager.{permission}", project, own, full)
    if not found:
        raise not_found(full)
    return found


@router.post(ALL)
def create(
    world: Here,
    caller: Caller,
    project: str,
    body: Resource,
    secret_id: Annotated[str, Query(alias="secretId")],
) -> Json:
    """Create a secret without a version."""
    number = project_number(project)
    policy.demand(world, caller, "secretmanager.secrets.create", project, {}, f"projects/{project}")
    full = f"projects/{number}/secrets/{secret_id}"
    if not NAME.fullmatch(secret_id):
        raise invalid(f"The secret id '{secret_id}' is invalid.")
    if (number, secret_id) in world.secrets:
        raise already_exists(full)
    if not body.get("replication"):
        raise invalid("Secret.replication is required.")
    if unknown := set(body) - {"replication", "labels", "annotations", "name"}:
        raise not_implemented(f"the field {min(unknown)} of a secret")
    resource = {**body, "name": full, "createTime": world.timestamp(), "etag": f'"{world.new_id()}"'}
    world.secrets[number, secret_id] = Secret(resource)
    return resource


@router.get(ALL)
def list_(world: Here, caller: Caller, project: str, page: Asked) -> Json:
    """The secrets of a project, not their data."""
    policy.demand(world, caller, "secretmanager.secrets.list", project, {}, f"projects/{project}")
    number = project_number(project)
    found = [secret.resource for key, secret in world.secrets.items() if key[0] == number]
    return {**page.of("secrets", found), "totalSize": len(found)}


# Before the resource itself, whose path would match this one.
@router.get(ONE + ":getIamPolicy")
def get_policy(world: Here, caller: Caller, project: str, name: str, version: policy.Version = 1) -> Json:
    """Who may do what."""
    return _find(world, caller, "secrets.getIamPolicy", project, name).policy


@router.get(ONE)
def get(world: Here, caller: Caller, project: str, name: str) -> Json:
    """One secret, not its data."""
    return _find(world, caller, "secrets.get", project, name).resource


@router.delete(ONE)
def delete(world: Here, caller: Caller, project: str, name: str) -> Json:
    """Delete a secret with its versions."""
    _find(world, caller, "secrets.delete", project, name)
    del world.secrets[project_number(project), name]
    return {}


@router.post(ONE + ":setIamPolicy")
def set_policy(world: Here, caller: Caller, project: str, name: str, body: Resource) -> Json:
    """Say who may do what."""
    secret = _find(world, caller, "secrets.setIamPolicy", project, name)
    secret.policy = policy.checked(body.get("policy") or {}, secret.policy, stale=409)
    return secret.policy


@router.post(ONE + ":addVersion")
def add_version(world: Here, caller: Caller, project: str, name: str, body: Resource) -> Json:
    """Add a version, which is the latest from now on."""
    secret = _find(world, caller, "versions.add", project, name)
    payload = body.get("payload") or {}
    try:
        data = base64.b64decode(payload.get("data", "").replace("-", "+").replace("_", "/"), validate=True)
    except binascii.Error:
        raise invalid("The payload's data is not base64.") from None
    if len(data) > MOST:
        raise invalid(f"The payload is too large: {len(data)} bytes, at most {MOST}.")
    sent = payload.get("dataCrc32c")
    if sent is not None and int(sent) != google_crc32c.value(data):
        raise invalid("The payload's data does not match its checksum.")
    version: Json = {
        "name": f"{secret.resource['name']}/versions/{len(secret.versions) + 1}",
        "createTime": world.timestamp(),
        "state": "ENABLED",
        "replicationStatus": {"automatic": {}},
        "etag": f'"{world.new_id()}"',
        "clientSpecifiedPayloadChecksum": sent is not None,
    }
    secret.versions.append((version, data))
    return version


@router.get(ONE + "/versions")
def versions(
    world: Here,
    caller: Caller,
    project: str,
    name: str,
    page: Asked,
    wanted: Annotated[str, Query(alias="filter")] = "",
) -> Json:
    """The versions of a secret, not their data."""
    secret = _find(world, caller, "versions.list", project, name)
    if wanted not in {"", "state:ENABLED"}:
        raise not_implemented(f"the filter {wanted} of versions")
    found = [version for version, _ in secret.versions if not wanted or version["state"] == "ENABLED"]
    return {**page.of("versions", found), "totalSize": len(found)}


@router.get(ONE + "/versions/{version}:access")
def access(world: Here, caller: Caller, project: str, name: str, version: str) -> Json:
    """The data of a version."""
    about, data = _version(_find(world, caller, "versions.access", project, name), version)
    if about["state"] != "ENABLED":
        said = f"Secret Version [{about['name']}] is in {about['state']} state."
        raise ApiError(400, "failedPrecondition", said)
    crc = str(google_crc32c.value(data))
    return {"name": about["name"], "payload": {"data": base64.b64encode(data).decode(), "dataCrc32c": crc}}


@router.get(ONE + "/versions/{version}")
def get_version(world: Here, caller: Caller, project: str, name: str, version: str) -> Json:
    """What is said of a version."""
    return _version(_find(world, caller, "versions.get", project, name), version)[0]


@router.post(ONE + "/versions/{version}:destroy")
def destroy(world: Here, caller: Caller, project: str, name: str, version: str, body: Resource) -> Json:
    """Take a version's data away for good; that it was there stays known."""
    secret = _find(world, caller, "versions.destroy", project, name)
    about, _ = _version(secret, version)
    if body.get("etag", about["etag"]) != about["etag"]:
        raise ApiError(400, "failedPrecondition", "The etag is not the version's.")
    about |= {"state": "DESTROYED", "destroyTime": world.timestamp(), "etag": f'"{world.new_id()}"'}
    secret.versions[int(about["name"].rpartition("/")[2]) - 1] = (about, b"")
    return about


def _version(secret: Secret, version: str) -> tuple[Json, bytes]:
    number = len(secret.versions) if version == "latest" else int(version) if version.isdigit() else 0
    if not 0 < number <= len(secret.versions):
        raise ApiError(
            404, "notFound", f"Secret Version [{secret.resource['name']}/versions/{version}] not found."
        )
    return secret.versions[number - 1]
