"""The four DORA measures of one service in one environment (dora.dev), from the ledger alone.

A deployment is a release that users met: confirmed, or taken back after the switch. It failed if it was taken
back, or if the next confirmed release brought an earlier one back. Releases that bring one back are the
restoring, not deployments of their own.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from releases.ledger import Entry
from releases.release import Verdict

EXPOSING = ("switch", "smoke test after", "bake")  # the steps in which users meet a release on trial


@dataclass(frozen=True)
class Dora:
    """Durations in seconds, medians; None where there is nothing to measure."""

    deployments: int
    per_week: float
    failed: int
    failure_rate: float | None
    lead_time: float | None
    lead_times: int
    time_to_restore: float | None


def measure(
    entries: Sequence[Entry], committed: Mapping[str, datetime], start: datetime, end: datetime
) -> Dora:
    """Of the deployments that ended between start and end. `committed`: when a revision was, where known."""
    ended = sorted((one for one in entries if one.outcome), key=lambda one: one.release.number)
    deployed = [one for one in ended if is_deployment(one) and one.outcome and start <= one.outcome.at < end]
    restored = [found for one in deployed if (found := seconds_to_restore(one, ended)) is not None]
    leads = [
        (one.outcome.at - committed[one.release.revision]).total_seconds()
        for one in deployed
        if one.outcome and one.confirmed and one.release.revision in committed
    ]
    return Dora(
        deployments=len(deployed),
        per_week=len(deployed) / ((end - start) / timedelta(weeks=1)),
        failed=len(restored),
        failure_rate=len(restored) / len(deployed) if deployed else None,
        lead_time=statistics.median(leads) if leads else None,
        lead_times=len(leads),
        time_to_restore=statistics.median(restored) if restored else None,
    )


def is_deployment(entry: Entry) -> bool:
    """Whether users met this release, and it was not the way back from another."""
    met = entry.confirmed or (entry.outcome is not None and entry.outcome.verdict is Verdict.reverted)
    return met and entry.release.restores is None


def seconds_to_restore(entry: Entry, ended: Sequence[Entry]) -> float | None:
    """From when users met a failed deployment until an earlier release was back; None if it did not fail."""
    outcome = entry.outcome
    if outcome is None:
        return None
    if outcome.verdict is Verdict.reverted:
        return sum(outcome.seconds.get(step, 0.0) for step in EXPOSING)
    after = (one for one in ended if one.confirmed and one.release.number > entry.release.number)
    following = next(after, None)
    if following is None or following.outcome is None or following.release.restores is None:
        return None
    return (following.outcome.at - outcome.at).total_seconds()
