"""The buckets of a project."""

import re
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from sandbox import policy
from sandbox.compute.instance import project_number
from sandbox.compute.names import merged
from sandbox.errors import ApiError, invalid, not_implemented
from sandbox.routing import Atomic, Caller, Here, Json, Resource
from sandbox.storage.bucket import ROOT, Bucket
from sandbox.world import ZONES, World

router = APIRouter(route_class=Atomic)
NAME = re.compile(r"[a-z0-9][-_.a-z0-9]{1,220}[a-z0-9]")
# Kept and shown; versioning, the retention policy and the default hold have their effect, too.
FIELDS = frozenset(
    {
        *("name", "location", "storageClass", "labels", "lifecycle", "versioning", "retentionPolicy"),
        *("softDeletePolicy", "iamConfiguration", "defaultEventBasedHold"),
    }
)
# What the server says of it: gcloud sends it back, it is not looked at.
OUTPUT = frozenset(
    {
        *("kind", "id", "selfLink", "projectNumber", "metageneration", "etag", "timeCreated", "updated"),
        *("locationType", "generation"),
    }
)
MULTI_REGIONS = {"US", "EU", "ASIA"}
WEEK = 7 * 24 * 3600


def find(world: World, name: str) -> Bucket:
    """The bucket, or 404."""
    found = world.buckets.get(name)
    if not found:
        raise ApiError(404, "notFound", "The specified bucket does not exist.")
    return found


def demand(world: World, caller: str, permission: str, bucket: Bucket, name: str = "") -> None:
    """403 unless the caller may do it to the bucket or the object."""
    resource = f"projects/_/buckets/{bucket.name}" + (f"/objects/{name}" if name else "")
    policy.demand(world, caller, permission, bucket.project, bucket.policy, resource)


def _checked(world: World, body: Json) -> Json:
    if unknown := set(body) - FIELDS - OUTPUT:
        raise not_implemented(f"the field {min(unknown)} of a bucket")
    body = {name: value for name, value in body.items() if name in FIELDS}
    retention = body.get("retentionPolicy")
    if retention:
        if int(retention.get("retentionPeriod", 0)) <= 0:
            raise invalid("The retention period must be greater than zero.")
        body["retentionPolicy"] = {
            "effectiveTime": world.timestamp(),
            **retention,
            "retentionPeriod": str(retention["retentionPeriod"]),
        }
    soft = body.get("softDeletePolicy")
    if soft:
        period = str(soft.get("retentionDurationSeconds", WEEK))
        body["softDeletePolicy"] = {"retentionDurationSeconds": period, "effectiveTime": world.timestamp()}
    return body


def _iam_configuration(given: Json) -> Json:
    uniform = {
        "enabled": False,
        **(given.get("uniformBucketLevelAccess") or given.get("bucketPolicyOnly") or {}),
    }
    return {
        "publicAccessPrevention": given.get("publicAccessPrevention", "inherited"),
        "uniformBucketLevelAccess": uniform,
        "bucketPolicyOnly": uniform,
    }


@router.post("/b")
def insert(
    world: Here,
    caller: Caller,
    project: str,
    body: Resource,
    projection: str = "",
    object_retention: Annotated[bool, Query(alias="enableObjectRetention")] = False,
) -> Json:
    """Create a bucket."""
    if object_retention:
        raise not_implemented("retention of single objects")
    name = body.get("name", "")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise invalid(f"Invalid bucket name: '{name}'")
    policy.demand(world, caller, "storage.buckets.create", project, {}, f"projects/{project}")
    if name in world.buckets:
        raise ApiError(409, "conflict", "The requested bucket name is not available: it exists already.")
    given = _checked(world, body)
    location = str(given.get("location") or "US").upper()
    if location not in MULTI_REGIONS and location.lower() not in ZONES:
        raise invalid(f"The specified location constraint is not valid: {location}")
    now = world.timestamp()
    resource: Json = {
        "storageClass": "STANDARD",
        "softDeletePolicy": {"retentionDurationSeconds": str(WEEK), "effectiveTime": now},
        **given,
        "iamConfiguration": _iam_configuration(given.get("iamConfiguration") or {}),
        "kind": "storage#bucket",
        "id": name,
        "selfLink": f"{ROOT}/{name}",
        "projectNumber": project_number(project),
        "location": location,
        "locationType": "multi-region" if location in MULTI_REGIONS else "region",
        "timeCreated": now,
        "updated": now,
        "metageneration": "1",
        "etag": "CAE=",
    }
    world.buckets[name] = Bucket(name, project, resource)
    return resource


@router.get("/b")
def list_(
    world: Here,
    caller: Caller,
    project: str,
    prefix: str = "",
    projection: str = "",
    max_results: Annotated[int, Query(alias="maxResults", ge=1)] = 1000,
    page_token: Annotated[str, Query(alias="pageToken")] = "",
) -> Json:
    """Those of one project."""
    policy.demand(world, caller, "storage.buckets.list", project, {}, f"projects/{project}")
    names = sorted(
        name
        for name, bucket in world.buckets.items()
        if bucket.project == project and name.startswith(prefix) and name > page_token
    )
    answer: Json = {
        "kind": "storage#buckets",
        "items": [world.buckets[name].resource for name in names[:max_results]],
    }
    return {**answer, "nextPageToken": names[max_results - 1]} if len(names) > max_results else answer


IfMetageneration = Annotated[int | None, Query(alias="ifMetagenerationMatch")]


def _hold(bucket: Bucket, metageneration: int | None) -> None:
    if metageneration is not None and metageneration != int(bucket.resource["metageneration"]):
        raise ApiError(
            412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold."
        )


@router.get("/b/{name}")
def get(
    world: Here, caller: Caller, name: str, projection: str = "", metageneration: IfMetageneration = None
) -> Json:
    """One bucket."""
    bucket = find(world, name)
    demand(world, caller, "storage.buckets.get", bucket)
    _hold(bucket, metageneration)
    return bucket.resource


@router.get("/b/{name}/storageLayout")
def get_storage_layout(world: Here, caller: Caller, name: str) -> Json:
    """What gcloud asks before it copies: are folders real here? They are not."""
    bucket = find(world, name)
    demand(world, caller, "storage.objects.list", bucket)
    told = {field: bucket.resource[field] for field in ("location", "locationType")}
    return {
        "kind": "storage#storageLayout",
        "bucket": name,
        **told,
        "hierarchicalNamespace": {"enabled": False},
    }


@router.patch("/b/{name}")
def patch(
    world: Here,
    caller: Caller,
    name: str,
    body: Resource,
    projection: str = "",
    metageneration: IfMetageneration = None,
) -> Json:
    """Change a bucket's settings."""
    bucket = find(world, name)
    demand(world, caller, "storage.buckets.update", bucket)
    _hold(bucket, metageneration)
    before = bucket.resource.get("retentionPolicy") or {}
    if "retentionPolicy" in body and before.get("isLocked"):
        period = int((body["retentionPolicy"] or {}).get("retentionPeriod", 0))
        if period < int(before["retentionPeriod"]):
            message = f"Cannot reduce retention duration of a locked Retention Policy for bucket '{name}'."
            raise ApiError(403, "forbidden", message)
    resource = merged(bucket.resource, _checked(world, body))
    resource["iamConfiguration"] = _iam_configuration(resource["iamConfiguration"])
    bucket.resource = resource
    _touch(world, bucket)
    return bucket.resource


def _touch(world: World, bucket: Bucket) -> None:
    number = int(bucket.resource["metageneration"]) + 1
    bucket.resource.update(metageneration=str(number), updated=world.timestamp(), etag=f"CA{number}=")


@router.delete("/b/{name}")
def delete(world: Here, caller: Caller, name: str, metageneration: IfMetageneration = None) -> Response:
    """Delete an empty bucket."""
    bucket = find(world, name)
    demand(world, caller, "storage.buckets.delete", bucket)
    _hold(bucket, metageneration)
    if bucket.objects:
        raise ApiError(409, "conflict", "The bucket you tried to delete is not empty.")
    del world.buckets[name]
    return Response(status_code=204)


@router.post("/b/{name}/lockRetentionPolicy")
def lock(
    world: Here,
    caller: Caller,
    name: str,
    metageneration: Annotated[int, Query(alias="ifMetagenerationMatch")],
) -> Json:
    """From now on the retention policy can only become longer."""
    bucket = find(world, name)
    demand(world, caller, "storage.buckets.update", bucket)
    _hold(bucket, metageneration)
    retention = bucket.resource.get("retentionPolicy")
    if not retention:
        raise invalid("Cannot lock a retention policy that is not there.")
    retention["isLocked"] = True
    _touch(world, bucket)
    return bucket.resource


Version = Annotated[int, Query(alias="optionsRequestedPolicyVersion")]


@router.get("/b/{name}/iam")
def get_policy(world: Here, caller: Caller, name: str, version: Version = 1) -> Json:
    """Who may do what."""
    bucket = find(world, name)
    demand(world, caller, "storage.buckets.getIamPolicy", bucket)
    return _shown(bucket)


@router.put("/b/{name}/iam")
def set_policy(world: Here, caller: Caller, name: str, body: Resource) -> Json:
    """Say who may do what."""
    bucket = find(world, name)
    demand(world, caller, "storage.buckets.setIamPolicy", bucket)
    bucket.policy = policy.checked(body, bucket.policy, stale=412)
    return _shown(bucket)


def _shown(bucket: Bucket) -> Json:
    return {"kind": "storage#policy", "resourceId": f"projects/_/buckets/{bucket.name}", **bucket.policy}


@router.get("/b/{name}/iam/testPermissions")
def test_permissions(
    world: Here, caller: Caller, name: str, permissions: Annotated[list[str], Query()]
) -> Json:
    """Which of these the caller has."""
    bucket = find(world, name)
    resource = f"projects/_/buckets/{bucket.name}"
    mine = [
        one for one in permissions if policy.may(world, caller, one, bucket.project, bucket.policy, resource)
    ]
    return {"kind": "storage#testIamPermissionsResponse", "permissions": mine}
