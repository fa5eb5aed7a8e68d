"""Of pushes that wait together, which need no run: another came on top, and its run will do. A plain rule."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from releases.trigger import Start


@dataclass(frozen=True)
class Move:
    """A push seen from its branch and service: where the branch stood, and where it was moved."""

    lane: tuple[str, ...]  # moves of different lanes have nothing to do with each other
    before: str
    after: str
    back: bool  # may lead back to a commit that was there before


def move(start: Start, before: str) -> Move | None:
    """None for a tag: it moves no branch, so nothing comes on top of it."""
    if not start.branch or not before:
        return None
    lane = (start.service, start.environment, start.source, start.branch)
    return Move(lane, before, start.ref, start.back)


def covered(moves: Sequence[Move | None]) -> dict[int, int]:
    """The position of each move that needs no run, with that of one on top of it that gets one.

    Only what GitHub says stood there before proves that one came on top of another: deliveries overtake each
    other. Where a branch went round in a circle even that proves nothing, so those moves all get runs, and so
    does what may lead back: a commit that was there before has to be asked for anew. A circle of which a part
    was written earlier cannot be seen here: a head left out by it is what reconcile starts.
    """
    leaving, reaching = _by_commit(moves)
    left = {commit: len(positions) for commit, positions in leaving.items()}
    found: dict[int, int] = {}
    newest: dict[tuple[str, ...], int] = {}  # what gets a run, of the moves on top of a commit
    # From the ends backwards: a commit's turn comes when all that left it is settled; in a circle, never.
    settled = [commit for commit in reaching if commit not in leaving]
    while settled:
        commit = settled.pop()
        for at, one in reaching[commit]:
            if commit in newest and not one.back:
                found[at] = newest[commit]
            origin = (*one.lane, one.before)
            newest[origin] = max(newest.get(origin, -1), found.get(at, at))
            left[origin] -= 1
            if not left[origin]:
                settled.append(origin)
    return found


_ByCommit = dict[tuple[str, ...], list[tuple[int, Move]]]


def _by_commit(moves: Sequence[Move | None]) -> tuple[_ByCommit, _ByCommit]:
    """The moves away from each commit, and the moves to it, with their positions."""
    leaving: _ByCommit = defaultdict(list)
    reaching: _ByCommit = defaultdict(list)
    for at, one in enumerate(moves):
        if one:
            leaving[(*one.lane, one.before)].append((at, one))
            reaching[(*one.lane, one.after)].append((at, one))
    return leaving, reaching
