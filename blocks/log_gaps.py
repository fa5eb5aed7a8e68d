"""Gaps that were found and that nobody has been told of yet.

A note lies in the store from before the checkpoint counts a gap as told until a person was told:
killed anywhere, the next run tells it.
"""

import hashlib
from dataclasses import dataclass, field

from pydantic import TypeAdapter

from releases.log_export import GAPS, Hole
from releases.store import NotFound, Store

_HOLES = TypeAdapter(list[Hole])


@dataclass
class Untold:
    """Gaps, and the notes that go once they were told."""

    keys: list[str] = field(default_factory=list)
    gaps: list[Hole] = field(default_factory=list)


def note_gaps(store: Store, service: str, environment: str, gaps: list[Hole]) -> None:
    """Have a note of them; the same gaps are the same note."""
    data = _HOLES.dump_json(gaps)
    name = hashlib.sha256(data).hexdigest()[:20]
    store.create(f"{GAPS}environment={environment}/service={service}/{name}.json", data)


def untold_gaps(store: Store, environment: str, service: str = "") -> Untold:
    """Everything to be told, each gap once."""
    prefix = f"{GAPS}environment={environment}/" + (f"service={service}/" if service else "")
    found = Untold()
    for key in store.list(prefix):
        try:
            gaps = _HOLES.validate_json(store.read(key)[0])
        except NotFound:
            continue  # told by another run meanwhile
        found.keys.append(key)
        found.gaps += [gap for gap in gaps if gap not in found.gaps]
    return found


def forget_gaps(store: Store, told: Untold) -> None:
    """A person was told."""
    for key in told.keys:
        store.remove(key)
