"""What a lost push would have started, and where a node is not as the ledger says: the plain rules."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import takewhile
from typing import Literal

# What is done where a node is not as the ledger says.
Drifted = Literal["report", "repair"]
ATTEMPTS = 3  # of a commit, where the world around it was what failed
SILENT = 180.0  # seconds; an agent reports every minute


class Ended(StrEnum):
    """What became of a run that a push has started."""

    going = "going"  # or waiting, for its turn or for an approval
    done = "done"
    failed = "failed"  # by a verdict: tests, build, smoke checks
    lost = "lost"  # the world around it: its process died, something did not answer
    cancelled = "cancelled"  # by a person
    superseded = "superseded"  # it changed nothing
    frozen = "frozen"  # refused in a freeze window, before anything was touched


SETTLED = {Ended.done, Ended.failed, Ended.cancelled}


@dataclass(frozen=True)
class Attempt:
    """A run that was started for a commit, by a push or by reconcile."""

    id: str
    commit: str
    ended: Ended
    created: datetime
    tag: str = ""  # the one that has asked for it


@dataclass(frozen=True)
class Known:
    """What is known of a service in an environment. `attempts`: newest first."""

    live: str = ""  # the live release's commit
    attempts: tuple[Attempt, ...] = ()
    by_hand: datetime | None = None  # when somebody last released the head without a push


@dataclass(frozen=True)
class Verdict:
    """Whether the head is to be started, and why. `after`: the run it comes after, if it is not the first."""

    start: bool
    why: str
    after: str = ""


def judge(head: str, known: Known) -> Verdict:
    """Whether a branch's head was missed: neither live, nor going on, nor tried since it became the head."""
    if head == known.live:
        return Verdict(False, "live")
    if any(one.ended is Ended.going and one.commit == head for one in known.attempts):
        return Verdict(False, "its release is waiting or going on")
    # What other commits have only tried says nothing about when this one became the head.
    telling = [one for one in known.attempts if one.commit == head or one.ended in SETTLED]
    mine = list(takewhile(lambda one: one.commit == head, telling))
    if mine and mine[0].ended is Ended.frozen:
        return Verdict(True, "it was refused in a freeze window that is over", mine[0].id)
    lost = sum(one.ended is Ended.lost for one in mine)
    if mine and (mine[0].ended is not Ended.lost or lost >= ATTEMPTS):
        return Verdict(False, f"tried, and {mine[0].ended}; a new commit or a release by hand goes on")
    if mine:
        return Verdict(True, f"attempt {lost + 1}: the last one was lost", mine[0].id)
    if known.by_hand and (not telling or known.by_hand > telling[0].created):
        return Verdict(False, "tried by hand")
    # A commit that was the head before has its run already; this is another one.
    again = any(one.commit == head for one in known.attempts)
    return Verdict(True, "nothing was started for it", telling[0].id if again else "")


def last_tried(known: Known) -> str:
    """The commit that was released or tried last; empty where there is none."""
    tried = (one.commit for one in known.attempts if one.ended in SETTLED)
    return next(tried, known.live)


def is_repeat(commit: str, earlier: tuple[Attempt, ...]) -> bool:
    """Whether the run before this one has had its verdict on the same commit. `earlier`: newest first."""
    telling = [one for one in earlier if one.commit == commit or one.ended in SETTLED]
    return bool(telling) and telling[0].commit == commit and telling[0].ended in {Ended.done, Ended.failed}


@dataclass(frozen=True)
class Seen:
    """What a node shows of a service."""

    unreachable: str = ""  # why
    silent: float = 0.0  # seconds since the agent's last report
    wanted: int | None = None  # the release that the node was told to keep
    live: int | None = None
    changed: str = ""  # what somebody changed on the live container


def drift(expected: int, seen: Seen) -> str:
    """How the node differs from the ledger's live release, while nothing is going on; empty: not at all."""
    if seen.unreachable:
        return f"the node does not answer: {seen.unreachable}"
    if seen.silent > SILENT:
        return f"the agent has said nothing for {seen.silent / 60:.0f} minutes"
    if seen.wanted != expected:
        return f"the node was told to keep {_release(seen.wanted)}"
    if seen.live != expected:
        return f"the node serves {_release(seen.live)}"
    return seen.changed


def _release(number: int | None) -> str:
    return f"release {number}" if number else "nothing"
