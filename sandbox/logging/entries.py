"""Log entries: written by the VMs' logging agents, listed by whoever may."""

import base64
import hashlib
import itertools
import json
import re
from datetime import UTC, datetime, timedelta

from fastapi import APIRouter

from sandbox import policy
from sandbox.errors import invalid, not_implemented
from sandbox.logging.query import parse, sortable
from sandbox.routing import Atomic, Caller, Here, Json, Resource
from sandbox.world import World

router = APIRouter(route_class=Atomic)
PAGE, MOST = 50, 1000
SCANNED = 5000  # a call looks at so many entries at most: a page may be empty and not the last
LARGEST = 256 * 1024
FUTURE = timedelta(hours=24)
LOG = re.compile(r"projects/([^/]+)/logs/[^/]+")
PROJECT = re.compile(r"projects/([^/]+)")
PAYLOADS = {"textPayload", "jsonPayload"}
KNOWN = {"logName", "resource", "timestamp", "insertId", "severity", "labels", *PAYLOADS}


@router.post("/v2/entries:write")
def write(world: Here, caller: Caller, body: Resource) -> Json:
    """Take entries in, all or none."""
    if unknown := set(body) - {"entries", "logName", "resource", "labels"}:
        raise not_implemented(f"the field {min(unknown)} of entries:write")
    defaults: Json = {name: body[name] for name in ("logName", "resource") if name in body}
    made = [_entry(world, {**defaults, **one}, body.get("labels", {})) for one in body.get("entries", [])]
    for project in {one["logName"].split("/")[1] for one in made}:
        policy.demand(world, caller, "logging.logEntries.create", project, {}, f"projects/{project}")
    world.log_entries.extend(one for one in made if one["timestamp"] <= _limit(world))
    return {}


@router.post("/v2/entries:list")
def list_(world: Here, caller: Caller, body: Resource) -> Json:
    """A page of the entries that match, by time; what is the same twice is there once."""
    if unknown := set(body) - {"resourceNames", "filter", "orderBy", "pageSize", "pageToken"}:
        raise not_implemented(f"the field {min(unknown)} of entries:list")
    projects = {_project(name) for name in body.get("resourceNames", [])}
    if not projects:
        raise invalid("At least one resource name is required.")
    for project in projects:
        policy.demand(world, caller, "logging.logEntries.list", project, {}, f"projects/{project}")
    if body.get("orderBy", "timestamp asc") != "timestamp asc":
        raise not_implemented(f"the order {body['orderBy']}")
    size = body.get("pageSize") or PAGE
    if size < 0:
        raise invalid("The page size must not be negative.")
    begin, test = _position(body), parse(body.get("filter", ""))
    there = {_place(one): one for one in world.log_entries if one["logName"].split("/")[1] in projects}
    after = [place for place in sorted(there) if place > begin]
    found: list[Json] = []
    for place in itertools.islice(after, SCANNED):
        found += [there[place]] if test(there[place]) else []
        begin = place
        if len(found) == min(size, MOST):
            break
    more = bool(after) and begin != after[-1]
    answer: Json = {"entries": found} if found else {}
    return {**answer, "nextPageToken": _token(body, begin)} if more else answer


def _entry(world: World, given: Json, labels: Json) -> Json:
    if unknown := set(given) - KNOWN:
        raise not_implemented(f"the field {min(unknown)} of an entry")
    if not LOG.fullmatch(given.get("logName", "")):
        raise invalid(f"Invalid log name: {given.get('logName')}")
    if not given.get("resource", {}).get("type"):
        raise invalid("An entry needs a resource.")
    if len(set(given) & PAYLOADS) != 1:
        raise invalid("An entry needs one payload.")
    if len(json.dumps(given)) > LARGEST:
        raise invalid(f"Log entry is too large; the largest is {LARGEST} bytes.")
    now = world.timestamp()
    try:
        sortable(given.get("timestamp", now))
    except ValueError:
        raise invalid(f"Invalid timestamp: {given['timestamp']}") from None
    own = {"timestamp": now, "insertId": world.new_id(), **given, "receiveTimestamp": now}
    return {**own, "labels": {**labels, **given.get("labels", {})}} if labels else own


def _limit(world: World) -> str:
    return f"{datetime.fromtimestamp(world.now(), UTC) + FUTURE:%Y-%m-%dT%H:%M:%SZ}"


def _project(name: str) -> str:
    match = PROJECT.fullmatch(name)
    if not match:
        raise not_implemented(f"entries of {name}")
    return match[1]


def _place(entry: Json) -> tuple[str, str, str]:
    """The order of a list; what has the same place is the same entry."""
    return sortable(entry["timestamp"]), entry["logName"], entry["insertId"]


def _asked(body: Json) -> str:
    same = {name: value for name, value in body.items() if name not in {"pageToken", "pageSize"}}
    return hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()[:16]


def _token(body: Json, place: tuple[str, str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps([_asked(body), *place]).encode()).decode()


def _position(body: Json) -> tuple[str, str, str]:
    token = body.get("pageToken", "")
    if not token:
        return ("", "", "")
    try:
        asked, time, log, insert = json.loads(base64.urlsafe_b64decode(token))
    except ValueError:
        raise invalid("The page token is invalid.") from None
    if asked != _asked(body):
        raise invalid("The page token belongs to another request.")
    return (time, log, insert)
