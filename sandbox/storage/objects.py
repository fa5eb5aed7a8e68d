"""The objects of a bucket: reading, listing, changing what is said of them, deleting."""

import base64
import re
from typing import Annotated

from fastapi import APIRouter, Body, Header, Query
from starlette.responses import Response

from sandbox.compute.names import merged
from sandbox.errors import ApiError, invalid, not_implemented
from sandbox.routing import Atomic, Caller, Here, Json
from sandbox.storage.bucket import OUTPUT, WRITABLE, Bucket, Stored
from sandbox.storage.buckets import demand
from sandbox.storage.buckets import find as find_bucket
from sandbox.storage.conditions import If
from sandbox.world import World

router = APIRouter(route_class=Atomic)
downloads = APIRouter(route_class=Atomic)
ONE = "/b/{bucket}/o/{name}"
MOST = 1000
RANGE = re.compile(r"bytes=(\d*)-(\d*)")
Generation = Annotated[int | None, Query()]


def find(world: World, caller: str, bucket: Bucket, name: str, generation: int | None) -> Stored:
    """The object, or 404; who may not list does not learn that it is missing."""
    found = bucket.find(name, generation)
    if not found:
        demand(world, caller, "storage.objects.list", bucket)
        raise ApiError(404, "notFound", f"No such object: {bucket.name}/{name}")
    return found


@router.get(ONE)
@downloads.get(ONE)
def get(
    world: Here,
    caller: Caller,
    bucket: str,
    name: str,
    conditions: If,
    generation: Generation = None,
    alt: str = "json",
    projection: str = "",
    range_: Annotated[str, Header(alias="range")] = "",
) -> Json | Response:
    """What is said of an object, or its data."""
    kept = find_bucket(world, bucket)
    demand(world, caller, "storage.objects.get", kept, name)
    found = find(world, caller, kept, name, generation)
    if nothing_new := conditions.unchanged(found):
        return nothing_new
    return _data(found, range_) if alt == "media" else kept.shown(found)


def _data(found: Stored, range_: str) -> Response:
    about = found.resource
    headers = {
        "Content-Type": about["contentType"],
        "ETag": about["etag"],
        "X-Goog-Generation": about["generation"],
        "X-Goog-Metageneration": about["metageneration"],
        "X-Goog-Hash": f"crc32c={about['crc32c']},md5={about['md5Hash']}",
        "X-Goog-Stored-Content-Length": about["size"],
        "X-Goog-Storage-Class": about["storageClass"],
        "Accept-Ranges": "bytes",
    }
    for field in ("contentEncoding", "contentDisposition", "contentLanguage", "cacheControl"):
        if field in about:
            headers[re.sub(r"([A-Z])", r"-\1", field).title()] = about[field]
    size = len(found.data)
    match = RANGE.fullmatch(range_)
    if not match or not any(match.groups()):
        return Response(found.data, 200, headers)
    start, end = match.groups()
    first = int(start) if start else max(size - int(end), 0)
    last = min(int(end), size - 1) if start and end else size - 1
    if first > last:
        return Response(b"", 416, {**headers, "Content-Range": f"bytes */{size}"})
    headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    return Response(found.data[first : last + 1], 206, headers)


@router.get("/b/{bucket}/o")
def list_(
    world: Here,
    caller: Caller,
    bucket: str,
    prefix: str = "",
    delimiter: str = "",
    versions: bool = False,
    projection: str = "",
    start: Annotated[str, Query(alias="startOffset")] = "",
    end: Annotated[str, Query(alias="endOffset")] = "",
    most: Annotated[int, Query(alias="maxResults", ge=1)] = MOST,
    page_token: Annotated[str, Query(alias="pageToken")] = "",
    folders: Annotated[bool, Query(alias="includeFoldersAsPrefixes")] = False,  # there are none
) -> Json:
    """By name; with a delimiter, what lies deeper is summed up as prefixes."""
    kept = find_bucket(world, bucket)
    demand(world, caller, "storage.objects.list", kept)
    after = _after(page_token)
    # Places in the list: (name, generation), a prefix has its own name and generation 0.
    found: dict[tuple[str, int], Stored | None] = {}
    for name in kept.objects:
        if not name.startswith(prefix) or name < start or (end and name >= end):
            continue
        deeper = name.find(delimiter, len(prefix)) if delimiter else -1
        if deeper >= 0:
            if versions or kept.live(name):
                found[name[: deeper + len(delimiter)], 0] = None
            continue
        shown_here = [one for one in kept.objects[name] if versions or not one.deleted]
        found.update({(name, one.generation): one for one in shown_here})
    places = sorted(place for place in found if place > after)
    shown = places[: min(most, MOST)]
    answer: Json = {"kind": "storage#objects"}
    prefixes = [place[0] for place in shown if found[place] is None]
    items = [kept.shown(stored) for place in shown if (stored := found[place])]
    answer.update({"prefixes": prefixes} if prefixes else {})
    answer.update({"items": items} if items else {})
    if len(places) > len(shown):
        name, generation = shown[-1]
        answer["nextPageToken"] = base64.urlsafe_b64encode(f"{generation}/{name}".encode()).decode()
    return answer


def _after(token: str) -> tuple[str, int]:
    if not token:
        return ("", -1)
    try:
        generation, _, name = base64.urlsafe_b64decode(token).decode().partition("/")
        return (name, int(generation))
    except ValueError:
        raise invalid("Invalid value for pageToken.") from None


@router.patch(ONE)
def patch(
    world: Here,
    caller: Caller,
    bucket: str,
    name: str,
    conditions: If,
    body: Annotated[Json | None, Body()] = None,
    generation: Generation = None,
    projection: str = "",
) -> Json:
    """Change what is said of an object: its holds, too."""
    kept = find_bucket(world, bucket)
    demand(world, caller, "storage.objects.update", kept, name)
    found = find(world, caller, kept, name, generation)
    conditions.hold(found)
    body = body or {}
    if unknown := set(body) - WRITABLE | (set(body) & {"crc32c", "md5Hash", "storageClass"}):
        raise not_implemented(f"a change of {min(unknown)} of an object")
    if found.resource.get("eventBasedHold") and body.get("eventBasedHold") is False:
        found.retained_from = world.now()  # the retention counts from the event on
    found.resource = merged(found.resource, body)
    found.touch(world.timestamp())
    return kept.shown(found)


@router.delete(ONE)
def delete(
    world: Here, caller: Caller, bucket: str, name: str, conditions: If, generation: Generation = None
) -> Response:
    """Delete a generation for good, or the live one as the bucket's versioning says."""
    kept = find_bucket(world, bucket)
    demand(world, caller, "storage.objects.delete", kept, name)
    found = find(world, caller, kept, name, generation)
    conditions.hold(found)
    kept.check_protection(world, found)
    if generation is None:
        kept.retire(found, world.timestamp())
    else:
        kept.forget(found)
    return Response(status_code=204)


@router.post(ONE + "/rewriteTo/b/{to_bucket}/o/{to_name}")
def rewrite(
    world: Here,
    caller: Caller,
    bucket: str,
    name: str,
    to_bucket: str,
    to_name: str,
    conditions: If,
    body: Annotated[Json | None, Body()] = None,
    source_generation: Annotated[int | None, Query(alias="sourceGeneration")] = None,
    projection: str = "",
) -> Json:
    """Copy an object in one go."""
    source, target = find_bucket(world, bucket), find_bucket(world, to_bucket)
    demand(world, caller, "storage.objects.get", source, name)
    found = find(world, caller, source, name, source_generation)
    carried = WRITABLE - {"temporaryHold", "eventBasedHold"}
    said = {key: value for key, value in found.resource.items() if key in carried}
    stored = put(world, caller, target, {**said, **(body or {}), "name": to_name}, found.data, conditions)
    size = stored.resource["size"]
    sizes = {"totalBytesRewritten": size, "objectSize": size}
    return {"kind": "storage#rewriteResponse", "done": True, **sizes, "resource": target.shown(stored)}


def check_put(world: World, caller: str, bucket: Bucket, about: Json, conditions: If) -> None:
    """Whether the caller may write this now: rights, preconditions, protection."""
    name = about.get("name")
    if not name or not isinstance(name, str) or len(name.encode()) > MOST + 24:
        raise ApiError(400, "required", "Required: object name.")
    if unknown := set(about) - WRITABLE - OUTPUT:
        raise not_implemented(f"the field {min(unknown)} of an object")
    demand(world, caller, "storage.objects.create", bucket, name)
    live = bucket.live(name)
    conditions.hold(live)
    if live:
        demand(world, caller, "storage.objects.delete", bucket, name)
        bucket.check_protection(world, live)


def put(world: World, caller: str, bucket: Bucket, about: Json, data: bytes, conditions: If) -> Stored:
    """Write a new generation, if all allows it."""
    check_put(world, caller, bucket, about, conditions)
    return bucket.write(world, about, data)
