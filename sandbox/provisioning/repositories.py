"""Artifact Registry's repositories with their clean-up policies; the images are the registry's business."""

import re
from typing import Annotated

from fastapi import APIRouter, Query

from sandbox import policy
from sandbox.errors import already_exists, invalid, not_found, not_implemented
from sandbox.provisioning.listing import Asked
from sandbox.provisioning.long_running import begin
from sandbox.routing import Atomic, Caller, Here, Json, Resource
from sandbox.world import ZONES, World

router = APIRouter(route_class=Atomic)
ALL = "/v1/projects/{project}/locations/{location}/repositories"
ONE = ALL + "/{name}"
NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
KIND = "google.devtools.artifactregistry.v1.Repository"
CHANGEABLE = {"description", "labels", "cleanupPolicies", "cleanupPolicyDryRun", "dockerConfig"}


def _find(world: World, project: str, location: str, name: str) -> Json:
    found = world.repositories.get((project, location, name))
    if not found:
        raise not_found(f"projects/{project}/locations/{location}/repositories/{name}")
    return found


def _durations(body: Json) -> None:
    """Durations as the API writes them, however they were sent: 60.0s is 60s."""
    for one in (body.get("cleanupPolicies") or {}).values():
        condition = one.get("condition") or {}
        for name in {"olderThan", "newerThan"} & set(condition):
            condition[name] = f"{float(condition[name].removesuffix('s')):.9f}".rstrip("0").rstrip(".") + "s"


@router.post(ALL)
def create(
    world: Here,
    caller: Caller,
    project: str,
    location: str,
    body: Resource,
    name: Annotated[str, Query(alias="repositoryId")],
) -> Json:
    """Create a repository for images."""
    full = f"projects/{project}/locations/{location}/repositories/{name}"
    if not NAME.fullmatch(name):
        raise invalid(f"Invalid repository id '{name}'.")
    if location not in ZONES:
        raise invalid(f"Invalid location '{location}'.")
    if body.get("format") != "DOCKER":
        raise not_implemented(f"repositories of the format {body.get('format')}")
    if unknown := set(body) - CHANGEABLE - {"format", "name", "mode"}:
        raise not_implemented(f"the field {min(unknown)} of a repository")
    if (project, location, name) in world.repositories:
        raise already_exists(full)
    _durations(body)
    now = world.timestamp()
    repository = {
        "mode": "STANDARD_REPOSITORY",
        **body,
        "name": full,
        "createTime": now,
        "updateTime": now,
        "sizeBytes": "0",
        "registryUri": f"{location}-docker.pkg.dev/{project}/{name}",
    }
    world.repositories[project, location, name] = repository
    return begin(world, f"projects/{project}/locations/{location}/", KIND, repository)


@router.get(ALL)
def list_(world: Here, caller: Caller, project: str, location: str, page: Asked) -> Json:
    """Those of one location."""
    found = [one for key, one in world.repositories.items() if key[:2] == (project, location)]
    return page.of("repositories", found)


# Before the resource itself, whose path would match this one.
@router.get(ONE + ":getIamPolicy")
def get_policy(
    world: Here, caller: Caller, project: str, location: str, name: str, version: policy.Version = 1
) -> Json:
    """Who may push and pull; `images` asks."""
    _find(world, project, location, name)
    return world.repository_policies.get((project, location, name), policy.empty())


@router.get(ONE)
def get(world: Here, caller: Caller, project: str, location: str, name: str) -> Json:
    """One repository."""
    return _find(world, project, location, name)


@router.patch(ONE)
def patch(
    world: Here,
    caller: Caller,
    project: str,
    location: str,
    name: str,
    body: Resource,
    mask: Annotated[str, Query(alias="updateMask")] = "",
) -> Json:
    """Change the fields that the mask names, or those that are given."""
    repository = _find(world, project, location, name)
    fields = [re.sub(r"_(\w)", lambda match: match[1].upper(), one) for one in mask.split(",") if one]
    fields = fields or [one for one in body if one != "name"]
    if unknown := set(fields) - CHANGEABLE:
        raise not_implemented(f"a change of {min(unknown)} of a repository")
    _durations(body)
    for field in fields:
        repository.pop(field, None)
        repository.update({field: body[field]} if field in body else {})
    repository["updateTime"] = world.timestamp()
    return repository


@router.delete(ONE)
def delete(world: Here, caller: Caller, project: str, location: str, name: str) -> Json:
    """Delete a repository."""
    _find(world, project, location, name)
    del world.repositories[project, location, name]
    world.repository_policies.pop((project, location, name), None)
    return begin(world, f"projects/{project}/locations/{location}/", "google.protobuf.Empty", {})


@router.post(ONE + ":setIamPolicy")
def set_policy(world: Here, caller: Caller, project: str, location: str, name: str, body: Resource) -> Json:
    """Say who may push and pull."""
    _find(world, project, location, name)
    key = (project, location, name)
    before = world.repository_policies.get(key, policy.empty())
    world.repository_policies[key] = policy.checked(body.get("policy") or {}, before, stale=409)
    return world.repository_policies[key]
