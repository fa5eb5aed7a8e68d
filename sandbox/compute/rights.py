"""Who may do what in Compute Engine: the permission that a request needs, from its path."""

from typing import Any
from urllib.parse import unquote

from fastapi import Request

from sandbox import policy
from sandbox.routing import Caller, Here, Json
from sandbox.world import World

COLLECTION = {"GET": "list", "POST": "create"}
ONE = {"GET": "get", "DELETE": "delete", "PATCH": "update", "PUT": "update"}
# Methods that need a permission which is not called as they are.
CALLED = {
    "serialPort": "getSerialPortOutput",
    "wait": "get",
    "resize": "update",
    "applyUpdatesToInstances": "update",
    "listManagedInstances": "get",
}
OPERATIONS = {"zones": "zoneOperations", "regions": "regionOperations", "global": "globalOperations"}


async def check(request: Request, world: Here, caller: Caller) -> None:
    """403 unless the caller may."""
    parts = [unquote(part) for part in request.url.path.split("/") if part][3:]  # after compute/v1/projects
    project = parts[0]
    permission = f"compute.{needed(request.method, parts[1:])}"
    policy.demand(world, caller, permission, project, {}, "/".join(["projects", *parts[:5]]))


def needed(method: str, parts: list[str]) -> str:
    """`instances.setMetadata` and so on; `parts` is the path after the project."""
    if not parts:
        return "projects.get"
    place, *rest = parts
    if place in {"zones", "regions"} and len(rest) <= 1:
        return f"{place}.{'get' if rest else 'list'}"
    if place in {"zones", "regions"}:
        rest = rest[1:]
    kind = OPERATIONS[place] if rest[0] == "operations" else rest[0]
    if len(rest) == 1:
        return f"{kind}.{COLLECTION[method]}"
    return f"{kind}.{CALLED.get(rest[2], rest[2]) if len(rest) > 2 else ONE[method]}"  # noqa: PLR2004 - kind, name, verb


def demand_act_as(world: World, caller: str, accounts: Any) -> None:
    """403 unless the caller may act as the accounts of a VM, whose programs do what its metadata says."""
    for one in accounts or []:
        for (project, email), account in world.accounts.items():
            if email == one.get("email"):
                own: Json = world.account_policies.get(account["name"], {})
                policy.demand(world, caller, "iam.serviceAccounts.actAs", project, own, account["name"])
