"""Subnetworks: each region has the default network's, and no other."""

from fastapi import APIRouter

from sandbox.compute.listing import Asked
from sandbox.compute.names import check_name, check_region, fingerprint, link
from sandbox.compute.operations import Request, RequestId
from sandbox.errors import not_found
from sandbox.routing import Atomic, Caller, Here, Json, Resource
from sandbox.world import World

router = APIRouter(route_class=Atomic)
ALL = "/projects/{project}/regions/{region}/subnetworks"
ONE = ALL + "/{name}"
NETWORK = "default"


def _shown(world: World, project: str, region: str) -> Json:
    return {
        "kind": "compute#subnetwork",
        "id": str(int.from_bytes(region.encode()[-6:], "big")),
        "creationTimestamp": "1969-12-31T16:00:00.000-08:00",
        "name": NETWORK,
        "network": link(project, "global", "networks", NETWORK),
        "region": link(project, region),
        "ipCidrRange": "127.0.1.0/24",
        "privateIpGoogleAccess": (project, region) in world.open_subnetworks,
        "fingerprint": fingerprint([project, region]),
        "selfLink": link(project, region, "subnetworks", NETWORK),
    }


@router.get(ALL)
def list_(world: Here, caller: Caller, project: str, region: str, page: Asked) -> Json:
    """Those of one region."""
    check_region(project, region)
    return page.of(
        "compute#subnetworkList", link(project, region, "subnetworks"), [_shown(world, project, region)]
    )


@router.get(ONE)
def get(world: Here, caller: Caller, project: str, region: str, name: str) -> Json:
    """One subnetwork."""
    check_region(project, region)
    if check_name(name) != NETWORK:
        raise not_found(f"projects/{project}/regions/{region}/subnetworks/{name}")
    return _shown(world, project, region)


@router.post(ONE + "/setPrivateIpGoogleAccess")
def set_private_access(
    world: Here,
    caller: Caller,
    project: str,
    region: str,
    name: str,
    body: Resource,
    request_id: RequestId = None,
) -> Json:
    """Whether VMs without an external address reach Google's APIs: kept, not enforced."""
    request = Request(world, project, region, caller, request_id)
    target = f"subnetworks/{name}"
    if again := request.again("setPrivateIpGoogleAccess", target):
        return again
    found = get(world=world, caller=caller, project=project, region=region, name=name)

    def effect() -> None:
        if body.get("privateIpGoogleAccess"):
            world.open_subnetworks.add((project, region))
        else:
            world.open_subnetworks.discard((project, region))

    return request.start("setPrivateIpGoogleAccess", target, found["id"], effect)
