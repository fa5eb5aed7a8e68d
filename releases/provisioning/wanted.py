"""One resource as it shall be, and a plan: wanted against found."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any

Json = dict[str, Any]


class Kind(IntEnum):
    """Kinds of resources, each after what it builds on."""

    api = 1
    account = 2
    role = 3
    secret = 4
    repository = 5
    bucket = 6
    pool = 7
    provider = 8
    rights = 9
    subnetwork = 10
    firewall = 11
    vm = 12


@dataclass(frozen=True, order=True)
class Key:
    """Which resource."""

    kind: Kind
    name: str

    def __str__(self) -> str:
        return f"{self.kind.name} {self.name}"


@dataclass(frozen=True)
class Wanted:
    """A resource as it shall be; `body` in the API's own words, as far as we say something about it."""

    key: Key
    body: Json = field(hash=False)
    fixed: frozenset[str] = frozenset()  # paths in the body that no API changes, or not without an outage
    exact: bool = False  # what is found beyond the body has to go
    theirs: bool = False  # other people make it, we only change it


class Action(StrEnum):
    """What there is to do about a resource."""

    create = "create"
    change = "change"
    by_hand = "by hand"  # it differs in what only a person should change
    unchanged = "unchanged"


@dataclass(frozen=True)
class Difference:
    """One field that is not as it shall be. None: not there, or not to be there."""

    path: str
    now: Any
    then: Any


@dataclass(frozen=True)
class Change:
    """What there is to do about one resource."""

    wanted: Wanted
    action: Action
    fields: tuple[Difference, ...] = ()
    by_hand: tuple[Difference, ...] = ()

    @property
    def key(self) -> Key:
        """Which resource."""
        return self.wanted.key


@dataclass(frozen=True)
class Plan:
    """Everything there is to do, in the order in which it can be done."""

    changes: tuple[Change, ...]

    @property
    def todo(self) -> tuple[Change, ...]:
        """What an apply would do."""
        return tuple(one for one in self.changes if one.action in {Action.create, Action.change})

    @property
    def left_to_people(self) -> tuple[Change, ...]:
        """What differs and no apply changes."""
        return tuple(one for one in self.changes if one.by_hand)

    @property
    def name(self) -> str:
        """The same for the same things to do: who approves a plan approves this one and no other."""
        said = [
            [
                str(one.key),
                one.action,
                [[diff.path, diff.now, diff.then] for diff in one.fields],
                one.wanted.body,
            ]
            for one in self.todo
        ]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:8]


def plan(wanted: Iterable[Wanted], found: Mapping[Key, Json | None]) -> Plan:
    """Wanted against found. `found` has each resource in the words of its wanted body, None where missing."""
    return Plan(tuple(compare(one, found.get(one.key)) for one in sorted(wanted, key=lambda one: one.key)))


def compare(wanted: Wanted, found: Json | None) -> Change:
    """What there is to do about one resource."""
    if found is None and wanted.theirs:
        return Change(wanted, Action.by_hand, by_hand=(Difference("", None, "there"),))
    if found is None:
        return Change(wanted, Action.create)
    differences = tuple(_differences(wanted.body, found, exact=wanted.exact))
    by_hand = tuple(one for one in differences if _is_fixed(one.path, wanted.fixed))
    fields = tuple(one for one in differences if one not in by_hand)
    action = Action.change if fields else Action.by_hand if by_hand else Action.unchanged
    return Change(wanted, action, fields, by_hand)


def _differences(wanted: Json, found: Json, *, exact: bool, under: str = "") -> Iterator[Difference]:
    for name, then in wanted.items():
        now, path = found.get(name), f"{under}{name}"
        if isinstance(then, dict) and isinstance(now, dict):
            yield from _differences(then, now, exact=exact, under=f"{path}.")
        elif now != then:
            yield Difference(path, now, then)
    if exact:
        yield from (
            Difference(f"{under}{name}", found[name], None) for name in sorted(set(found) - set(wanted))
        )


def _is_fixed(path: str, fixed: frozenset[str]) -> bool:
    return any(path == one or path.startswith(f"{one}.") for one in fixed)
