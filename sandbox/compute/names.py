"""Names, links and fingerprints."""

import base64
import hashlib
import json
import re

from sandbox.errors import invalid, not_found
from sandbox.routing import Json
from sandbox.world import ZONES

ROOT = "https://www.googleapis.com/compute/v1/"
NAME = re.compile(r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?")


def link(project: str, place: str, *rest: str) -> str:
    """A resource's self link; the place is a zone, a region or 'global'."""
    return ROOT + "/".join(["projects", project, *under(place), *rest])


def under(place: str) -> list[str]:
    """`zones/Z`, `regions/R`, `global` or nothing, as path parts."""
    if place in {"global", ""}:
        return [place] if place else []
    return ["regions" if place in ZONES else "zones", place]


def full(project: str, reference: str) -> str:
    """A full link out of any of the forms that requests may use."""
    if reference.startswith("https://"):
        return reference
    if reference.startswith("projects/"):
        return ROOT + reference
    return f"{ROOT}projects/{project}/{reference}"


def last(reference: str) -> str:
    """The name at the end of a link."""
    return reference.rpartition("/")[2]


def check_name(name: object) -> str:
    """A resource name the real API takes."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise invalid(
            f"Invalid value for field 'resource.name': '{name}'. Must be a match of regex "
            "'(?:[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?)'"
        )
    return name


def check_zone(project: str, zone: str) -> None:
    """404 for a zone that does not exist."""
    if all(zone not in zones for zones in ZONES.values()):
        raise not_found(f"projects/{project}/zones/{zone}")


def check_region(project: str, region: str) -> None:
    """404 for a region that does not exist."""
    if region not in ZONES:
        raise not_found(f"projects/{project}/regions/{region}")


def region_of(zone: str) -> str:
    """The region a zone lies in."""
    return zone.rpartition("-")[0]


def fingerprint(content: object) -> str:
    """Content-based, as the real one is: A → B → A gives the same again."""
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).digest()
    return base64.urlsafe_b64encode(digest[:8]).decode()


def merged(base: Json, patch: Json) -> Json:
    """JSON merge patch: null removes, objects merge, everything else replaces."""
    result = dict(base)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result
