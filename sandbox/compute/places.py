"""Projects, regions and zones: there from the start."""

from fastapi import APIRouter

from sandbox.compute.instance import project_number
from sandbox.compute.listing import Asked
from sandbox.compute.names import check_region, check_zone, fingerprint, link, region_of
from sandbox.routing import Atomic, Caller, Here, Json
from sandbox.world import ZONES

router = APIRouter(route_class=Atomic)
CREATED = "1969-12-31T16:00:00.000-08:00"  # what the real ones say


def _zone(project: str, name: str) -> Json:
    return {
        "kind": "compute#zone",
        "id": str(int.from_bytes(name.encode()[-6:], "big")),
        "creationTimestamp": CREATED,
        "name": name,
        "description": name,
        "status": "UP",
        "region": link(project, region_of(name)),
        "selfLink": link(project, name),
    }


def _region(project: str, name: str) -> Json:
    return {
        "kind": "compute#region",
        "id": str(int.from_bytes(name.encode()[-6:], "big")),
        "creationTimestamp": CREATED,
        "name": name,
        "description": name,
        "status": "UP",
        "zones": [link(project, zone) for zone in ZONES[name]],
        "selfLink": link(project, name),
    }


@router.get("/projects/{project}")
def project(world: Here, caller: Caller, project: str) -> Json:
    """Any project exists."""
    return {
        "kind": "compute#project",
        "id": project_number(project),
        "creationTimestamp": CREATED,
        "name": project,
        "commonInstanceMetadata": {"kind": "compute#metadata", "fingerprint": fingerprint([])},
        "defaultServiceAccount": f"{project_number(project)}-compute@developer.gserviceaccount.com",
        "defaultNetworkTier": "PREMIUM",
        "xpnProjectStatus": "UNSPECIFIED_XPN_PROJECT_STATUS",
        "selfLink": link(project, ""),
    }


@router.get("/projects/{project}/zones")
def zones(world: Here, caller: Caller, project: str, page: Asked) -> Json:
    """All zones."""
    found = [_zone(project, zone) for names in ZONES.values() for zone in names]
    return page.of("compute#zoneList", link(project, "", "zones"), found)


@router.get("/projects/{project}/zones/{zone}")
def zone(world: Here, caller: Caller, project: str, zone: str) -> Json:
    """One zone."""
    check_zone(project, zone)
    return _zone(project, zone)


@router.get("/projects/{project}/regions")
def regions(world: Here, caller: Caller, project: str, page: Asked) -> Json:
    """All regions."""
    found = [_region(project, name) for name in ZONES]
    return page.of("compute#regionList", link(project, "", "regions"), found)


@router.get("/projects/{project}/regions/{region}")
def region(world: Here, caller: Caller, project: str, region: str) -> Json:
    """One region."""
    check_region(project, region)
    return _region(project, region)
