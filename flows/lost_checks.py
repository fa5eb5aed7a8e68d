"""Checks of pull requests whose process is gone: nothing else ends them, or starts them again."""

from datetime import UTC, datetime, timedelta
from itertools import takewhile
from uuid import UUID

from prefect.client.schemas.objects import FlowRun

from blocks.environment import Environment
from blocks.pushed_runs import (
    OF_PULL_REQUEST,
    attempt,
    give_up,
    is_check,
    is_silent,
    read_runs,
    repeat_check,
    tags_of_checks,
)
from releases.reconcile import ATTEMPTS, Ended

CHECK_STUCK = timedelta(hours=2)  # longer than any build and tests; a check holds no turn that tells
WORTH_REPEATING = timedelta(days=1)


def give_up_checks(running: list[FlowRun]) -> None:
    """Say of checks that are shown as running for too long that their process is gone."""
    for run in running:
        if is_check(run) and is_silent(run, CHECK_STUCK):
            give_up(run.id, CHECK_STUCK)


def repeat_lost_checks(where: Environment, service: str) -> list[UUID]:
    """Start again the newest check of each pull request that was lost, as often as a release would be."""
    if where.watched(service) is None:
        return []
    by_pull_request: dict[str, list[FlowRun]] = {}
    for run in read_runs(tags_of_checks(service, where.name)):
        name = next((tag for tag in run.tags if tag.startswith(OF_PULL_REQUEST)), "")
        by_pull_request.setdefault(name, []).append(run)
    return [repeat_check(runs[0]) for runs in by_pull_request.values() if _is_lost(runs)]


def _is_lost(runs: list[FlowRun]) -> bool:
    """Of one pull request, newest first."""
    attempts = [attempt(run) for run in runs]
    commit = attempts[0].commit
    lost = list(takewhile(lambda one: one.commit == commit and one.ended is Ended.lost, attempts))
    young = datetime.now(UTC) - attempts[0].created < WORTH_REPEATING
    return young and 0 < len(lost) < ATTEMPTS
