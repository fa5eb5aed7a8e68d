"""Workload identity pools and their OIDC providers: kept; no tokens are exchanged."""

import re
from typing import Annotated

from fastapi import APIRouter, Query

from sandbox.errors import already_exists, invalid, not_found, not_implemented
from sandbox.provisioning.listing import Asked
from sandbox.provisioning.long_running import begin
from sandbox.routing import Atomic, Caller, Here, Json, Resource
from sandbox.world import World

router = APIRouter(route_class=Atomic)
POOLS = "/v1/projects/{project}/locations/{location}/workloadIdentityPools"
POOL = POOLS + "/{pool}"
PROVIDERS = POOL + "/providers"
PROVIDER = PROVIDERS + "/{provider}"
ID = re.compile(r"[-a-z0-9]{4,32}")
COMMON = {"displayName", "description", "disabled"}
OF_PROVIDER = COMMON | {"attributeMapping", "attributeCondition", "oidc"}
Mask = Annotated[str, Query(alias="updateMask")]


def _full(project: str, location: str, pool: str, provider: str = "") -> str:
    name = f"projects/{project}/locations/{location}/workloadIdentityPools/{pool}"
    return f"{name}/providers/{provider}" if provider else name


def _find(world: World, name: str) -> Json:
    if name not in world.pools:
        raise not_found(name)
    return world.pools[name]


def _create(world: World, name: str, body: Json, known: set[str]) -> Json:
    if not ID.fullmatch(name.rpartition("/")[2]):
        raise invalid(f"Invalid id '{name.rpartition('/')[2]}': 4 to 32 of a-z, 0-9 and dashes.")
    if unknown := set(body) - known - {"name"}:
        raise not_implemented(f"the field {min(unknown)} of {name}")
    if name in world.pools:
        raise already_exists(name)  # a deleted one keeps its name for 30 days, too
    world.pools[name] = {**body, "name": name, "state": "ACTIVE"}
    return begin(world, f"{name}/", "google.iam.v1.WorkloadIdentityPool", world.pools[name])


def _patch(world: World, name: str, body: Json, mask: str, known: set[str]) -> Json:
    found = _find(world, name)
    fields = [one for one in mask.split(",") if one]
    if unknown := set(fields) - known:
        raise not_implemented(f"a change of {min(unknown)} of {name}")
    for field in fields:
        found.pop(field, None)
        found.update({field: body[field]} if field in body else {})
    return begin(world, f"{name}/", "google.iam.v1.WorkloadIdentityPool", found)


def _delete(world: World, name: str) -> Json:
    found = _find(world, name)
    found["state"] = "DELETED"
    return begin(world, f"{name}/", "google.iam.v1.WorkloadIdentityPool", found)


@router.post(POOLS)
def create_pool(
    world: Here,
    caller: Caller,
    project: str,
    location: str,
    body: Resource,
    pool: Annotated[str, Query(alias="workloadIdentityPoolId")],
) -> Json:
    """Create a pool."""
    return _create(world, _full(project, location, pool), body, COMMON)


@router.get(POOLS)
def list_pools(world: Here, caller: Caller, project: str, location: str, page: Asked) -> Json:
    """Those that are not deleted."""
    start = _full(project, location, "")
    found = [one for name, one in world.pools.items() if name.startswith(start) and "/providers/" not in name]
    return page.of("workloadIdentityPools", [one for one in found if one["state"] == "ACTIVE"])


@router.get(POOL)
def get_pool(world: Here, caller: Caller, project: str, location: str, pool: str) -> Json:
    """One pool, a deleted one too."""
    return _find(world, _full(project, location, pool))


@router.patch(POOL)
def patch_pool(
    world: Here, caller: Caller, project: str, location: str, pool: str, body: Resource, mask: Mask = ""
) -> Json:
    """Change what the mask names."""
    return _patch(world, _full(project, location, pool), body, mask, COMMON)


@router.delete(POOL)
def delete_pool(world: Here, caller: Caller, project: str, location: str, pool: str) -> Json:
    """Delete a pool; its name is taken for weeks."""
    return _delete(world, _full(project, location, pool))


@router.post(PROVIDERS)
def create_provider(
    world: Here,
    caller: Caller,
    project: str,
    location: str,
    pool: str,
    body: Resource,
    provider: Annotated[str, Query(alias="workloadIdentityPoolProviderId")],
) -> Json:
    """Create an OIDC provider."""
    _find(world, _full(project, location, pool))
    if not (body.get("oidc") or {}).get("issuerUri", "").startswith("https://"):
        raise not_implemented("providers but OIDC ones with an https issuer")
    if "google.subject" not in (body.get("attributeMapping") or {}):
        raise invalid("The attribute mapping must map google.subject.")
    if body["oidc"]["issuerUri"].endswith("githubusercontent.com") and not body.get("attributeCondition"):
        raise invalid("The attribute condition must reference one of the provider's claims.")
    return _create(world, _full(project, location, pool, provider), body, OF_PROVIDER)


@router.get(PROVIDERS)
def list_providers(world: Here, caller: Caller, project: str, location: str, pool: str, page: Asked) -> Json:
    """Those that are not deleted."""
    start = _full(project, location, pool) + "/providers/"
    found = [one for name, one in world.pools.items() if name.startswith(start) and one["state"] == "ACTIVE"]
    return page.of("workloadIdentityPoolProviders", found)


@router.get(PROVIDER)
def get_provider(world: Here, caller: Caller, project: str, location: str, pool: str, provider: str) -> Json:
    """One provider, a deleted one too."""
    return _find(world, _full(project, location, pool, provider))


@router.patch(PROVIDER)
def patch_provider(
    world: Here,
    caller: Caller,
    project: str,
    location: str,
    pool: str,
    provider: str,
    body: Resource,
    mask: Mask = "",
) -> Json:
    """Change what the mask names."""
    return _patch(world, _full(project, location, pool, provider), body, mask, OF_PROVIDER)


@router.delete(PROVIDER)
def delete_provider(
    world: Here, caller: Caller, project: str, location: str, pool: str, provider: str
) -> Json:
    """Delete a provider; its name is taken for weeks."""
    return _delete(world, _full(project, location, pool, provider))
