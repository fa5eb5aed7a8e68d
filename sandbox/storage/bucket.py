"""Buckets and the generations of their objects, and what protects them."""

import base64
import hashlib
from dataclasses import dataclass, field
from urllib.parse import quote

import google_crc32c

from sandbox.errors import ApiError, invalid
from sandbox.policy import empty
from sandbox.routing import Json
from sandbox.world import World, rfc3339

ROOT = "https://www.googleapis.com/storage/v1/b"
# What a writer says of an object; the rest is the server's.
WRITABLE = frozenset(
    {
        *("name", "bucket", "contentType", "contentEncoding", "contentDisposition", "contentLanguage"),
        *("cacheControl", "metadata", "storageClass", "customTime", "temporaryHold", "eventBasedHold"),
        *("md5Hash", "crc32c"),
    }
)
# What the server says of it: clients may send it back, it is not looked at.
OUTPUT = frozenset(
    {
        *("kind", "id", "selfLink", "mediaLink", "generation", "metageneration", "size", "etag", "updated"),
        *("timeCreated", "timeFinalized", "timeStorageClassUpdated", "timeDeleted"),
        *("retentionExpirationTime", "componentCount"),
    }
)


@dataclass
class Stored:
    """One generation of an object."""

    resource: Json
    data: bytes
    created: float
    retained_from: float
    deleted: str = ""  # when it became noncurrent

    @property
    def generation(self) -> int:
        """Its number; newer ones are greater."""
        return int(self.resource["generation"])

    @property
    def metageneration(self) -> int:
        """How often its metadata was written."""
        return int(self.resource["metageneration"])

    def touch(self, now: str) -> None:
        """Its metadata has changed."""
        self.resource["metageneration"] = str(self.metageneration + 1)
        self.resource["updated"] = now
        self.resource["etag"] = _etag(self.generation, self.metageneration)


@dataclass
class Bucket:
    """A bucket; an object's generations are in order, the live one is the last, if there is one."""

    name: str
    project: str
    resource: Json
    policy: Json = field(default_factory=empty)
    objects: dict[str, list[Stored]] = field(default_factory=dict)
    newest: int = 0

    @property
    def versioned(self) -> bool:
        """Whether what is overwritten or deleted stays as a noncurrent generation."""
        return bool((self.resource.get("versioning") or {}).get("enabled"))

    def live(self, name: str) -> Stored | None:
        """The generation that a reader gets who asks for none."""
        found = self.objects.get(name)
        return found[-1] if found and not found[-1].deleted else None

    def find(self, name: str, generation: int | None) -> Stored | None:
        """A certain generation, or the live one."""
        if generation is None:
            return self.live(name)
        return next((one for one in self.objects.get(name, []) if one.generation == generation), None)

    def shown(self, stored: Stored) -> Json:
        """The object's resource; until when it is retained depends on the bucket's policy of today."""
        resource = dict(stored.resource)
        if stored.deleted:
            resource["timeDeleted"] = stored.deleted
        until = self.retained_until(stored)
        if until is not None:
            resource["retentionExpirationTime"] = rfc3339(until)
        return resource

    def retained_until(self, stored: Stored) -> float | None:
        """When the retention policy lets go of it; nobody knows as long as an event-based hold is on."""
        period = (self.resource.get("retentionPolicy") or {}).get("retentionPeriod")
        if period is None or stored.resource.get("eventBasedHold"):
            return None
        return stored.retained_from + float(period)

    def check_protection(self, world: World, stored: Stored) -> None:
        """403 if it may not be deleted or overwritten now."""
        what = f"Object '{self.name}/{stored.resource['name']}'"
        for hold in ("temporaryHold", "eventBasedHold"):
            if stored.resource.get(hold):
                kind = "Temporary" if hold == "temporaryHold" else "Event-Based"
                message = f"{what} is under active {kind} hold and cannot be deleted, overwritten or archived"
                raise ApiError(403, "objectUnderActiveHold", f"{message} until hold is removed.")
        until = self.retained_until(stored)
        if until is not None and world.now() < until:
            message = f"{what} is subject to bucket's retention policy or object retention"
            message += f" and cannot be deleted or overwritten until {rfc3339(until)}"
            raise ApiError(403, "retentionPolicyNotMet", message)

    def write(self, world: World, given: Json, data: bytes) -> Stored:
        """A new live generation. The caller has checked rights, preconditions and protection."""
        name, now = given["name"], world.now()
        digests = checked_digests(given, data)
        old = self.live(name)
        generation = self.newest = max(int(now * 1_000_000), self.newest + 1)
        stamp, quoted = rfc3339(now), quote(name, safe="")
        resource: Json = {
            "contentType": "application/octet-stream",
            "storageClass": self.resource["storageClass"],
            **{key: value for key, value in given.items() if key in WRITABLE and value is not None},
            **digests,
            "kind": "storage#object",
            "id": f"{self.name}/{name}/{generation}",
            "selfLink": f"{ROOT}/{self.name}/o/{quoted}",
            "mediaLink": f"{world.network.api}/download/storage/v1/b/{self.name}/o/{quoted}"
            f"?generation={generation}&alt=media",
            "bucket": self.name,
            "generation": str(generation),
            "metageneration": "1",
            "size": str(len(data)),
            "timeCreated": stamp,
            "updated": stamp,
            "timeFinalized": stamp,
            "timeStorageClassUpdated": stamp,
            "etag": _etag(generation, 1),
        }
        if self.resource.get("defaultEventBasedHold"):
            resource.setdefault("eventBasedHold", True)
        stored = Stored(resource, data, now, now)
        if old:
            self.retire(old, stamp)
        self.objects.setdefault(name, []).append(stored)
        return stored

    def retire(self, stored: Stored, now: str) -> None:
        """The live generation gives way: kept as noncurrent where the bucket is versioned."""
        if self.versioned:
            stored.deleted = now
        else:
            self.forget(stored)

    def forget(self, stored: Stored) -> None:
        """Delete a generation for good."""
        name = stored.resource["name"]
        self.objects[name].remove(stored)
        if not self.objects[name]:
            del self.objects[name]


def _etag(generation: int, metageneration: int) -> str:
    return base64.b64encode(f"{generation}/{metageneration}".encode()).decode()


def digests_of(data: bytes) -> Json:
    """CRC32C and MD5 as the API writes them."""
    crc = google_crc32c.value(data).to_bytes(4, "big")
    return {
        "crc32c": base64.b64encode(crc).decode(),
        "md5Hash": base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode(),
    }


def checked_digests(given: Json, data: bytes) -> Json:
    """The data's own checksums; 400 if the sender had others."""
    found = digests_of(data)
    for kind, called in (("crc32c", "CRC32C"), ("md5Hash", "MD5 hash")):
        sent = given.get(kind)
        if sent and sent != found[kind]:
            raise invalid(f'Provided {called} "{sent}" doesn\'t match calculated {called} "{found[kind]}".')
    return found
