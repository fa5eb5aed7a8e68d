"""IAM service accounts. No keys: nobody here is meant to hold one."""

import re
from typing import Annotated

from fastapi import APIRouter, Body

from sandbox import policy
from sandbox.errors import already_exists, invalid, not_found
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


@router.delete(ONE)
def delete(world: Here, caller: Caller, project: str, email: str) -> Json:
    """Delete a service account."""
    account = _find(world, project, email)
    del world.accounts[account["projectId"], account["email"]]
    world.account_policies.pop(account["name"], None)
    return {}


@router.post(ONE + ":getIamPolicy")
def get_policy(
    world: Here, caller: Caller, project: str, email: str, body: Annotated[Json | None, Body()] = None
) -> Json:
    """Who may act as it: kept, not enforced."""
    return world.account_policies.get(_find(world, project, email)["name"], policy.empty())


@router.post(ONE + ":setIamPolicy")
def set_policy(world: Here, caller: Caller, project: str, email: str, body: Resource) -> Json:
    """Say who may act as it."""
    name = _find(world, project, email)["name"]
    before = world.account_policies.get(name, policy.empty())
    world.account_policies[name] = policy.checked(body.get("policy") or {}, before, stale=409)
    return world.account_policies[name]
