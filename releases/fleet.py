"""Many nodes as one: which documents to write, and what their answers come to. Plain rules, no I/O.

A fleet is released to in waves, but confirmed at once: until the last wave has passed, every node is on
trial with its old container warm. So a failure anywhere is one switch back everywhere, and a controller
that dies leaves no fleet on two versions: each node takes the release back by itself at the end of its
window. Confirming wave by wave would leave the early ones on the new release for good. The price is that
the window is as long as all waves may take. What has limits of its own, pulling above all, may take longer
than that in a later wave: meanwhile the controller renews the windows of the nodes that serve the candidate.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from releases import desired as desire
from releases import place
from releases.desired import FORMAT, Desired, ServiceDesired
from releases.problem import Failed, Superseded
from releases.release import Release
from releases.status import Phase, ServiceStatus

LEAST_FIRST = list(Phase)  # a fleet is as far as its slowest node; `reverted` and `idle` come last


def latest(documents: Collection[ServiceDesired]) -> ServiceDesired:
    """What was desired last; of one generation, the node that is still on trial speaks."""
    return max(
        documents, key=lambda one: (one.generation, one.candidate is not None), default=ServiceDesired()
    )


def proposed(
    everywhere: Collection[ServiceDesired],
    release: Release,
    key_sha256: str,
    window: float,
    *,
    reverted: bool = False,
) -> ServiceDesired:
    """The document that puts the release on trial, the same on every node and in every wave.

    A later wave finds the release on trial on the earlier ones and takes their generation. Raises Refused.
    """
    now = latest(everywhere)
    if now.candidate is not None and now.candidate.release == release:
        untried = now.candidate.model_copy(update={"traffic": 0})
        return now.model_copy(update={"candidate": untried})
    return desire.propose(now, release, key_sha256, window=window, reverted=reverted)


def taken_back(on_it: Collection[ServiceDesired], generation: int) -> ServiceDesired:
    """The document for every node of the generation when one of them is not to keep it. Raises Superseded."""
    trials = [one for one in on_it if one.generation == generation and one.candidate is not None]
    if not trials:
        raise _moved(on_it, generation)
    return desire.revert(trials[0], generation)


def document(text: str, service: str, wanted: ServiceDesired) -> str:
    """The node's document in which only this service's part is another. Raises Failed.

    Parts of other services stay as they were written, fields that we do not know included. Raises Refused
    where a release that is put on trial would have another service's port or name.
    """
    parsed = parse(text)
    if wanted.candidate is not None and wanted.generation != parsed.of(service).generation:
        place.check(wanted.candidate.release, place.taken(parsed))
    raw = _as_written(text)
    raw["services"] = {**raw.get("services", {}), service: wanted.model_dump(mode="json")}
    return json.dumps(raw, separators=(",", ":"))


def answering(text: str, thumbprint: str) -> str:
    """The node's document that names this ACME account, and all else as it was written. Raises Failed."""
    parse(text)
    return json.dumps({**_as_written(text), "acme": thumbprint}, separators=(",", ":"))


def parse(text: str) -> Desired:
    """What is desired of a node; nothing yet is an empty document. Raises Failed."""
    if not text:
        return Desired()
    try:
        found = Desired.model_validate_json(text)
    except ValidationError as error:
        raise Failed("the desired state cannot be read", got=str(error).splitlines()[0]) from error
    if found.format > FORMAT:
        raise Failed(
            "the desired state was written by a newer model-deploy",
            expected=f"format {FORMAT}",
            got=f"format {found.format}",
            next_step="upgrade model-deploy here",
        )
    return found


def may_write(read: ServiceDesired, found: ServiceDesired) -> None:
    """After a 412: go on if only others' parts have changed. Raises Superseded."""
    if found != read:
        raise _moved([found], read.generation)


def split(names: Sequence[str], most: int) -> list[list[str]]:
    """Waves: one node alone first, then `most` at a time."""
    rest = list(names[1:])
    return [list(names[:1]), *(rest[at : at + most] for at in range(0, len(rest), most))] if names else []


def window(release: Release, waves: int) -> float:
    """Seconds a node may stay on trial: until the last wave has had its time."""
    return waves * (release.confirm_window + (release.run.health.timeout if waves > 1 else 0))


def whole(nodes: Mapping[str, ServiceStatus]) -> ServiceStatus:
    """What the nodes' reports come to; of numbers that differ the lowest, of which no node is short."""
    every = list(nodes.values())
    if len(every) < 2:  # noqa: PLR2004 - one speaks for itself
        return every[0] if every else ServiceStatus()
    slowest = min(every, key=lambda one: (one.generation, LEAST_FIRST.index(one.phase)))
    failed = next((one.failure for one in every if one.failure), None)
    reverted = {number: why for one in every for number, why in one.reverted.items()}
    return slowest.model_copy(
        update={
            "live": _lowest([one.live for one in every]),
            "confirmed": _lowest([one.confirmed for one in every]),
            "confirmed_generation": _lowest([one.confirmed_generation for one in every]),
            "failure": failed,
            "reverted": reverted,
        }
    )


def _as_written(text: str) -> dict[str, Any]:
    """Fields that we do not know included."""
    raw: dict[str, Any] = json.loads(text) if text else Desired().model_dump(mode="json")
    return raw


def _lowest(numbers: list[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return min(known) if len(known) == len(numbers) and known else None


def _moved(found: Collection[ServiceDesired], generation: int) -> Superseded:
    return Superseded(
        "somebody else has changed this service meanwhile",
        expected=f"generation {generation}",
        got=f"generation {latest(found).generation}",
        next_step="model-deploy status",
    )
