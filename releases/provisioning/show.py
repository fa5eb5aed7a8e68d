"""A plan as lines for people."""

import difflib
import json
from collections.abc import Iterator
from typing import Any

from releases.provisioning.wanted import Action, Change, Difference, Kind, Plan

SIGNS = {Action.create: "+", Action.change: "~", Action.by_hand: "!", Action.unchanged: " "}


def lines(plan: Plan) -> Iterator[str]:
    """What would be done, as a diff; what is as it shall be is only counted."""
    for change in plan.changes:
        if change.action is not Action.unchanged:
            yield f"{SIGNS[change.action]} {change.action} {change.key}"
            yield from _details(change)
    counts = {action: sum(one.action is action for one in plan.changes) for action in Action}
    said = ", ".join(f"{count} to {action}" for action, count in counts.items() if count and action in _DONE)
    by_hand = f", {len(plan.left_to_people)} with something to do by hand" if plan.left_to_people else ""
    yield f"{said or 'nothing to do'}{by_hand}, {counts[Action.unchanged]} unchanged"


_DONE = (Action.create, Action.change)


def _details(change: Change) -> Iterator[str]:
    if change.action is Action.create:
        yield from (f"      + {line}" for line in _created(change))
    for field in change.fields:
        yield from (f"      {line}" for line in _difference(change, field))
    if change.key.kind is Kind.vm and any(one.path == "metadata.user-data" for one in change.fields):
        name = change.key.name
        yield f"      {name} boots into it the next time, and runs as before until then; it serves nothing"
        yield f"      during gcloud compute instances reset {name}: one VM after the other"
    for field in change.by_hand:
        yield from (f"      {line}  (by hand)" for line in _difference(change, field))


def _created(change: Change) -> Iterator[str]:
    if change.key.kind is Kind.rights:
        yield from change.wanted.body
        return
    for name, value in change.wanted.body.items():
        yield f"{name}: {_short(value)}"


def _difference(change: Change, field: Difference) -> Iterator[str]:
    if change.key.kind is Kind.rights:
        yield f"{'+' if field.now is None else '-'} {field.path}"
    elif any(isinstance(one, str) and "\n" in one for one in (field.now, field.then)):
        yield f"{field.path}:"
        before, after = str(field.now or "").splitlines(), str(field.then or "").splitlines()
        found = difflib.unified_diff(before, after, "now", "then", lineterm="", n=1)
        yield from (f"  {line}" for line in list(found)[2:])
    else:
        yield f"{field.path}: {_short(field.now)} → {_short(field.then)}"


def _short(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, str) and "\n" in value:
        return f"{len(value.splitlines())} lines"
    return value if isinstance(value, str) else json.dumps(value)
