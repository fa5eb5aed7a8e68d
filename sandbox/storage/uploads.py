"""The three ways up: media, multipart, resumable."""

import json
import re
import secrets
from dataclasses import dataclass, field
from email.message import Message
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response

from sandbox.errors import ApiError, invalid, not_implemented
from sandbox.routing import Atomic, Caller, Here, Json
from sandbox.storage.bucket import Bucket, Stored
from sandbox.storage.buckets import find as find_bucket
from sandbox.storage.conditions import Conditions, If
from sandbox.storage.objects import check_put, put
from sandbox.world import World

router = APIRouter(route_class=Atomic)
PATH = "/b/{bucket}/o"
PIECE = 256 * 1024
CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")


@dataclass
class Upload:
    """A resumable upload under way; once done it still answers, for a client whose answer got lost."""

    bucket: Bucket
    caller: str
    about: Json
    conditions: Conditions
    received: bytearray = field(default_factory=bytearray)
    stored: Stored | None = None


@router.post(PATH)
async def start(
    request: Request,
    world: Here,
    caller: Caller,
    bucket: str,
    conditions: If,
    upload_type: Annotated[str, Query(alias="uploadType")] = "media",
    name: str = "",
    content_encoding: Annotated[str, Query(alias="contentEncoding")] = "",
    projection: str = "",
) -> Response:
    """Take an object whole, or the promise of one."""
    body = await request.body()
    about: Json = {
        key: value for key, value in {"name": name, "contentEncoding": content_encoding}.items() if value
    }
    kind, data = request.headers.get("content-type", ""), body
    if upload_type == "multipart":
        said, kind, data = _parts(body, kind)
        about = {**about, **said}
    elif upload_type == "resumable":
        about = {**about, **_json(body or b"{}")}
        kind = request.headers.get("x-upload-content-type", "")
    elif upload_type != "media":
        raise not_implemented(f"uploadType={upload_type}")
    if kind:
        about.setdefault("contentType", kind)
    with world.lock:
        kept = find_bucket(world, bucket)
        if upload_type == "resumable":
            return _promise(request, world, Upload(kept, caller, about, conditions))
        about = {**_hashes(request), **about}
        return JSONResponse(kept.shown(put(world, caller, kept, about, data, conditions)))


def _promise(request: Request, world: World, upload: Upload) -> Response:
    check_put(world, upload.caller, upload.bucket, upload.about, upload.conditions)
    number = secrets.token_urlsafe(24)
    world.uploads[number] = upload
    where = request.url.replace(query=f"uploadType=resumable&upload_id={number}")
    return Response(b"", 200, {"Location": str(where), "X-GUploader-UploadID": number})


@router.put(PATH)
async def go_on(
    request: Request, world: Here, bucket: str, number: Annotated[str, Query(alias="upload_id")]
) -> Response:
    """Take a piece, or say how much is there. The upload's id is what lets the sender in, as at Google."""
    data = await request.body()
    with world.lock:
        upload = _find(world, bucket, number)
        if upload.stored:
            return JSONResponse(upload.bucket.shown(upload.stored))
        match = CONTENT_RANGE.fullmatch(request.headers.get("content-range", ""))
        if "content-range" in request.headers and not match:
            raise invalid("Failed to parse Content-Range header.")
        first, _, total = match.groups() if match else ("0", None, str(len(data)))
        if first is not None:
            _take(upload, data, int(first), whole=total != "*")
        if total == "*" or len(upload.received) < int(total):
            return _so_far(upload)
        about = {**_hashes(request), **upload.about}
        upload.stored = put(
            world, upload.caller, upload.bucket, about, bytes(upload.received), upload.conditions
        )
        upload.received = bytearray()
        return JSONResponse(upload.bucket.shown(upload.stored))


@router.delete(PATH)
def cancel(world: Here, bucket: str, number: Annotated[str, Query(alias="upload_id")]) -> Response:
    """Forget a resumable upload."""
    _find(world, bucket, number)
    del world.uploads[number]
    return Response(b"", 499)


def _find(world: World, bucket: str, number: str) -> Upload:
    upload = world.uploads.get(number)
    if not upload or upload.bucket.name != bucket:
        raise ApiError(404, "notFound", "No such upload.")
    return upload


def _take(upload: Upload, data: bytes, first: int, *, whole: bool) -> None:
    there = len(upload.received)
    if first > there:
        raise invalid(f"The upload offset is {first}, but only {there} bytes are there.")
    if not whole and len(data) % PIECE:
        raise invalid(f"A piece that is not the last must be a multiple of {PIECE} bytes.")
    # What was sent again after a lost answer is there already.
    upload.received += data[there - first :]


def _so_far(upload: Upload) -> Response:
    there = len(upload.received)
    return Response(b"", 308, {"Range": f"bytes=0-{there - 1}"} if there else {})


def _hashes(request: Request) -> Json:
    """The checksums of the X-Goog-Hash header."""
    names = {"crc32c": "crc32c", "md5": "md5Hash"}
    pairs = (
        one.strip().split("=", 1) for one in request.headers.get("x-goog-hash", "").split(",") if "=" in one
    )
    return {names[name]: value for name, value in pairs if name in names}


def _json(text: bytes) -> Json:
    try:
        found = json.loads(text)
    except ValueError:
        raise invalid("Metadata part is not JSON.") from None
    if not isinstance(found, dict):
        raise invalid("Metadata part is no object.")
    return found


def _parts(body: bytes, content_type: str) -> tuple[Json, str, bytes]:
    """What is said of the object, its type and its data, out of a multipart/related body."""
    header = Message()
    header["content-type"] = content_type
    boundary = str(header.get_param("boundary", "")).strip("'")  # gcloud puts it between single quotes
    mark = b"--" + boundary.encode()
    parts = body.split(mark)
    if not boundary or len(parts) != 4 or parts[3].strip() != b"--":  # noqa: PLR2004 - before, two parts, end
        raise invalid("Malformed multipart body.")
    end = b"\r\n" if parts[1].startswith(b"\r\n") else b"\n"  # gcloud's lines end in the latter
    about, media = (part.removeprefix(end).removesuffix(end) for part in parts[1:3])
    _, said = _headers(about, end)
    kind, data = _headers(media, end)
    return _json(said), kind, data


def _headers(part: bytes, end: bytes) -> tuple[str, bytes]:
    above, _, below = part.partition(end + end)
    for line in above.decode("latin-1").splitlines():
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-type":
            return value.strip(), below
    return "", below
