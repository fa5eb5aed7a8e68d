"""Runs that have ended without a process: what they had left pending on GitHub gets its end."""

from datetime import UTC, datetime, timedelta

from prefect.client.schemas.objects import FlowRun

from blocks.environment import Environment
from blocks.github import GitHub, State
from blocks.pushed_runs import read_runs
from flows.approval import WAITS, waits_no_more
from flows.github_feedback import connected_github, context_of, watched_by
from flows.turn import NEVER_RESUMED
from releases.approval import Expired

GIVE_UP = timedelta(days=1)  # telling a GitHub that takes nothing


def tell_the_end(where: Environment) -> list[str]:
    """Runs that a person has cancelled while they waited for an approval, or that nobody has answered.

    A suspended run has no process that could tell; its tag, which says that it waits, is what is left of it.
    What was told is returned.
    """
    told = []
    for run in read_runs([WAITS, f"environment:{where.name}"]):
        state = run.state
        if state is None or not state.is_final():
            continue
        github = None if _spoken_for(run) else connected_github()
        got_through = github is None or _tell(github, where, run)
        if got_through or datetime.now(UTC) - state.timestamp > GIVE_UP:
            waits_no_more(run)
        if github is not None and got_through:
            told.append(f"{run.name}: {_why(run)[1]}")
    return told


def _spoken_for(run: FlowRun) -> bool:
    """Whether a later run of the same commit shows how that stands."""
    same = [tag for tag in run.tags if tag.startswith(("service:", "environment:"))]
    others = read_runs(same)
    return any(
        other.parameters.get("ref") == run.parameters.get("ref")
        and other.created
        and run.created
        and other.created > run.created
        for other in others
    )


def _tell(github: GitHub, where: Environment, run: FlowRun) -> bool:
    given = run.parameters
    watched = watched_by(where, str(given.get("source", "")), str(given.get("path", "")))
    if watched is None:
        return True
    state, said = _why(run)
    return github.set_status(
        watched.repository,
        str(given.get("ref", "")),
        state,
        context=context_of(where.name, watched),
        description=said,
    )


def _why(run: FlowRun) -> tuple[State, str]:
    name, message = (run.state.name, run.state.message) if run.state else ("", "")
    if name == Expired.__name__ or (message or "").endswith(NEVER_RESUMED):
        return "failure", "nobody has approved it in time; what was live before is live"
    if run.state and run.state.is_cancelled():
        return "error", "cancelled while it waited for an approval; what was live before is live"
    return "error", f"ended while it waited for an approval: {name}"
