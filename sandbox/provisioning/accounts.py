"""IAM service accounts. No keys: nobody here is meant to hold one."""

import re
from typing import Annotated

from fastapi import APIRouter, Body, Query

from sandbox import policy
from sandbox.errors import already_exists, invalid, not_found, not_implemented
from sandbox.provisioning.listing import Asked
from sandbox.routing import Atomic, Caller, Here, Json, Resource
from sandbox.world import World

router = APIRouter(route_class=Atomic)
ALL = "/v1/projects/{project}/serviceAccounts"
ONE = ALL + "/{email}"
ID = re.compile(r"[a-z]([-a-z0-9]{4,28}[a-z0-9])")


def _find(world: World, project: str, email: str) -> Json:
    for key, account in world.accounts.items():
        if (project in {"-", key[0]}) and email in {account["email"], account["uniqueId"]}:
            return account
    raise not_found(f"projects/{project}/serviceAccounts/{email}")


@router.post(ALL)
def create(world: Here, caller: Caller, project: str, body: Resource) -> Json:
    """Create a service account."""
    name = body.get("accountId", "")
    if not ID.fullmatch(name):
        raise invalid(f"Invalid service account id '{name}': 6 to 30 of a-z, 0-9 and dashes.")
    email = f"{name}@{project}.iam.gserviceaccount.com"
    if (project, email) in world.accounts:
        raise already_exists(f"projects/{project}/serviceAccounts/{email}")
    said = body.get("serviceAccount") or {}
    number = world.new_id()
    account: Json = {
        **{key: said[key] for key in ("displayName", "description") if key in said},
        "name": f"projects/{project}/serviceAccounts/{email}",
        "projectId": project,
        "uniqueId": number,
        "oauth2ClientId": number,
        "email": email,
        "etag": "MDEwMjE5MjA=",
    }
    world.accounts[project, email] = account
    return account


@router.get(ALL)
def list_(world: Here, caller: Caller, project: str, page: Asked) -> Json:
    """Those of a project."""
    return page.of("accounts", [account for key, account in world.accounts.items() if key[0] == project])


@router.get(ONE)
def get(world: Here, caller: Caller, project: str, email: str) -> Json:
    """One service account."""
    return _find(world, project, email)


@router.patch(ONE)
def patch(world: Here, caller: Caller, project: str, email: str, body: Resource) -> Json:
    """Change its display name or description, as the mask says."""
    account = _find(world, project, email)
    said = body.get("serviceAccount") or {}
    for field in [
        re.sub(r"_(\w)", lambda match: match[1].upper(), one) for one in body["updateMask"].split(",")
    ]:
        if field not in {"displayName", "description"}:
            raise not_implemented(f"a change of {field} of a service account")
        account.update({field: said.get(field, "")})
    return account


@router.post(ONE + ":disable")
def disable(
    world: Here, caller: Caller, project: str, email: str, body: Annotated[Json | None, Body()] = None
) -> Json:
    """Let it do nothing any more: kept, not enforced."""
    _find(world, project, email)["disabled"] = True
    return {}


@router.post(ONE + ":enable")
def enable(
    world: Here, caller: Caller, project: str, email: str, body: Annotated[Json | None, Body()] = None
) -> Json:
    """Let it work again."""
    _find(world, project, email).pop("disabled", None)
    return {}


@router.get(ONE + "/keys")
def keys(
    world: Here,
    caller: Caller,
    project: str,
    email: str,
    types: Annotated[str, Query(alias="keyTypes")] = "",
) -> Json:
    """The keys that people have made: none can be made here."""
    if types != "USER_MANAGED":
        raise not_implemented("a list of keys but with keyTypes=USER_MANAGED")
    found = world.account_keys.get(_find(world, project, email)["email"], [])
    return {"keys": found} if found else {}


@router.delete(ONE)
def delete(world: Here, caller: Caller, project: str, email: str) -> Json:
    """Delete a service account."""
    account = _find(world, project, email)
    del world.accounts[account["projectId"], account["email"]]
    world.account_policies.pop(account["name"], None)
    return {}


@router.post(ONE + ":getIamPolicy")
def get_policy(
    world: Here,
    caller: Caller,
    project: str,
    email: str,
    body: Annotated[Json | None, Body()] = None,
    version: policy.Version = 1,
) -> Json:
    """Who may act as it."""
    return world.account_policies.get(_find(world, project, email)["name"], policy.empty())


@router.post(ONE + ":setIamPolicy")
def set_policy(world: Here, caller: Caller, project: str, email: str, body: Resource) -> Json:
    """Say who may act as it."""
    name = _find(world, project, email)["name"]
    before = world.account_policies.get(name, policy.empty())
    world.account_policies[name] = policy.checked(body.get("policy") or {}, before, stale=409)
    return world.account_policies[name]
