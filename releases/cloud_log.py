"""Lines in Cloud Logging, as Container-Optimized OS sends them there: whose they are, and which are next.

`google-logging-enabled=true` in a VM's metadata sends what its containers print to the log `cos_containers`,
each with `cos.googleapis.com/container_name`, `…/container_id` and `…/stream` beside its text. The label
`compute.googleapis.com/resource_name` is the logging agent's own container, so a VM is told by its number.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field

from releases import log_export
from releases.log_export import EXPORTS
from releases.log_line import SHORT_ID, full_time
from releases.log_segment import partition

LOG = "cos_containers"
COS = "cos.googleapis.com/"
HOUR = timedelta(hours=1)
FIRST = timedelta(days=1)  # how far back the first export goes
LATEST = timedelta(days=1)  # entries that come later than this are not looked for
_RELEASE = re.compile(r"[.]([0-9]+)-[a-z]{4}$")


def container_name(service: str, environment: str, number: int) -> str:
    """What a declared container is called, so that its entries say whose they are.

    The startup agent makes `klt-NAME-xxxx` of it, with four letters, and removes whatever else it has
    started (gce-containers-startup/runtime/runtime.go in https://github.com/GoogleCloudPlatform/konlet).
    """
    return f"{service}.{environment}.{number}"


class Reach(BaseModel):
    """How far: entries of before `until` that had come before `received`."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    until: datetime = Field(description="The start of an hour.")
    received: datetime

    def following(self, end: datetime, received: datetime) -> "Reach":
        """One hour on, but not past `end`: with it, whatever came late for the hours before."""
        until = max(self.until, min(self.until + HOUR, end))
        return Reach(until=until, received=max(self.received, received))


class CloudRecord(BaseModel):
    """The export's checkpoint. `next` is decided before it is done, so that a second try does the same."""

    model_config = ConfigDict(extra="ignore")

    format: int = 1
    done: Reach
    next: Reach | None = None

    @classmethod
    def before(cls, end: datetime) -> "CloudRecord":
        """Nothing is exported yet."""
        start = end - FIRST
        return cls(done=Reach(until=start, received=start))


def record_key(service: str, environment: str) -> str:
    """Where the checkpoint lies."""
    return f"{EXPORTS}service={service}/environment={environment}/cloud-logging.json"


def part_key(project: str, service: str, environment: str, hour: datetime, named: str) -> str:
    """A part of an hour's entries; `named` says which."""
    words = [project, LOG, service, environment, f"{hour:%Y-%m-%dT%H}", named]
    return log_export.part_key(partition(service, environment, hour), words)


def entries_between(project: str, service: str, environment: str, done: Reach, to: Reach) -> str:
    """The filter for what is in `to` and was not in `done`."""
    tests = (
        f'logName="projects/{project}/logs/{LOG}"',
        'resource.type="gce_instance"',
        f'jsonPayload."{COS}container_name"=~"^klt-{service}[.]{environment}[.][0-9]+-[a-z]{{4}}$"',
        f'timestamp>="{_said(done.until - LATEST)}"',
        f'timestamp<"{_said(to.until)}"',
        f'receiveTimestamp<"{_said(to.received)}"',
        f'(timestamp>="{_said(done.until)}" OR receiveTimestamp>="{_said(done.received)}")',
    )
    return " AND ".join(tests)


def exported(entry: dict[str, Any]) -> dict[str, Any]:
    """The entry as an exported line; its id is its own."""
    payload = entry.get("jsonPayload") or {}
    release = _RELEASE.search(str(payload.get(f"{COS}container_name", "")))
    return {
        "node": str(entry.get("resource", {}).get("labels", {}).get("instance_id", "")),
        "container": str(payload.get(f"{COS}container_id", ""))[:SHORT_ID],
        "release": int(release[1]) if release else 0,
        "model_version": "",
        "line": _text(entry, payload),
        "stream": str(payload.get(f"{COS}stream", "unknown")),
        "time": full_time(entry["timestamp"]),
        "id": entry["insertId"],
    }


def hour_of(entry: dict[str, Any]) -> datetime:
    """The start of its hour."""
    return datetime.fromisoformat(entry["timestamp"][: len("2026-11-24T01")] + ":00:00").replace(tzinfo=UTC)


def _text(entry: dict[str, Any], payload: dict[str, Any]) -> str:
    """What was printed. A line that is a JSON object has become the payload's own fields."""
    said = {name: value for name, value in payload.items() if not name.startswith(COS)}
    message = said.get("message", entry.get("textPayload", ""))
    if isinstance(message, str) and set(said) <= {"message"}:
        return message.removesuffix("\n")
    return orjson.dumps(said).decode()


def _said(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
