"""Runs that have ended without a process: people are told, and what GitHub shows as pending gets its end."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun

from blocks.environment import Environment
from blocks.github import GitHub, State
from blocks.notifications import tell
from blocks.pushed_runs import SUPERSEDED, is_check, read_crashed, read_runs
from flows.approval import WAITS
from flows.github_feedback import commit_of, connected_github, context_of, watched_by
from flows.github_shown import UNHEARD, Shown, untold
from flows.turn import NEVER_RESUMED
from releases.approval import Expired
from releases.trigger import Watched

GIVE_UP = timedelta(days=1)  # telling a GitHub that takes nothing
DIED = "its process died"
SEEN = "model-deploy:died"  # on a run that died, once people were told
AT_ONCE = 10  # runs; GitHub wants no more than 80 requests a minute, or 500 an hour, that write


def tell_the_end(where: Environment) -> list[str]:
    """Of runs that were killed, cancelled while they waited for an approval, or answered by nobody.

    No process of theirs could tell; a tag on the run says that it is to be told, and so it does where GitHub
    was away when the run told its end itself. What was told is returned.
    """
    _tell_people(where)
    told: list[str] = []
    of_this = f"environment:{where.name}"
    runs = [*read_runs([WAITS, of_this]), *read_runs([UNHEARD, of_this])]
    github, away = connected_github() if runs else None, False
    for run in reversed(runs):  # the oldest first, as it would have been
        state = run.state
        if state is None or not state.is_final():
            continue
        # The others wait for a GitHub that is away as well: each would only take its time.
        got_through, said = (False, "") if away else _tell_one(github, where, run)
        away = away or (github is not None and github.away)
        if got_through or datetime.now(UTC) - state.timestamp > GIVE_UP:
            _tag(run, remove={WAITS, UNHEARD})
        if got_through and said:
            told.append(f"{run.name}: {said}")
        if len(told) == AT_ONCE:
            break
    return told


def _tell_people(where: Environment) -> None:
    for run in read_crashed(where.name, datetime.now(UTC) - GIVE_UP):
        if SEEN not in run.tags:
            _tag(run, add={SEEN, UNHEARD})
            if not is_check(run):
                tell(where.rules.notify, f"Failed: {run.name}: {DIED}", "Reconcile settles what it has left.")


def _tell_one(github: GitHub | None, where: Environment, run: FlowRun) -> tuple[bool, str]:
    """Whether there is nothing left to tell of the run; what was told, if anything."""
    end = untold(run)
    if github is None:
        return True, ""
    if end is not None:
        return end.tell_late(github, over=_is_over(where, run, end)), end.said
    watched, commit = _about(where, run)
    if watched is None or not commit or (SEEN not in run.tags and _spoken_for(where, run, commit)):
        return True, ""
    return _tell(github, where, watched, run, commit), _why(run)[1]


def _is_over(where: Environment, run: FlowRun, end: Shown) -> bool:
    """Whether what the run has made live has been replaced since."""
    if end.state != "success" or not end.environment:
        return False
    live = where.ledger(end.service).live()
    return live is not None and live.release.created_by != str(run.id)


def _tell(github: GitHub, where: Environment, watched: Watched, run: FlowRun, commit: str) -> bool:
    state, said = _why(run)
    context = context_of("check" if is_check(run) else where.name, watched)
    if SEEN in run.tags and not is_check(run):
        _end_deployment(github, where, watched, run, commit, said)
    if _spoken_for(where, run, commit):
        return True
    return github.set_status(watched.repository, commit, state, context=context, description=said)


def _about(where: Environment, run: FlowRun) -> tuple[Watched | None, str]:
    """The service, and the commit that GitHub shows the run beside."""
    given = run.parameters
    if "source" in given:
        return watched_by(where, str(given["source"]), str(given.get("path", ""))), str(given.get("ref", ""))
    service = str(given.get("service", ""))  # a promotion, a rollback
    releases = (one.release for one in where.ledger(service).newest_first())
    made = (commit_of(one) for one in releases if one.created_by == str(run.id))
    return where.watched(service), next(made, "")


def _end_deployment(
    github: GitHub, where: Environment, watched: Watched, run: FlowRun, commit: str, said: str
) -> None:
    """The one that the run has opened, whatever a later run shows."""
    begun, ended = run.created, run.state.timestamp if run.state else None
    for one in github.deployments(watched.repository, commit, where.name):
        mine = begun and ended and begun <= one.created_at <= ended
        if mine and one.description == context_of(where.name, watched):
            github.set_deployment(watched.repository, one.id, "error", description=said)
            return


def _spoken_for(where: Environment, run: FlowRun, commit: str) -> bool:
    """Whether a later run of the same commit shows how that stands."""
    if "ref" not in run.parameters:
        ledger = where.ledger(str(run.parameters.get("service")))
        last = next((one.release for one in ledger.newest_first() if one.release.revision == commit), None)
        return last is not None and last.created_by != str(run.id)
    same = [tag for tag in run.tags if tag.startswith(("service:", "check:", "environment:"))]
    others = read_runs(same)
    return any(
        other.parameters.get("ref") == run.parameters.get("ref")
        and other.created
        and run.created
        and other.created > run.created
        for other in others
    )


def _why(run: FlowRun) -> tuple[State, str]:
    name, message = (run.state.name, run.state.message) if run.state else ("", "")
    if name == Expired.__name__ or (message or "").endswith(NEVER_RESUMED):
        return "failure", "nobody has approved it in time; what was live before is live"
    if name == SUPERSEDED:
        return "error", "a newer commit came while it waited for an approval"
    if run.state and run.state.is_cancelled():
        return "error", "cancelled while it waited for an approval; what was live before is live"
    if SEEN in run.tags:
        return "error", f"{DIED} before it had a verdict"
    return "error", f"ended while it waited for an approval: {name}"


def _tag(run: FlowRun, *, add: Collection[str] = (), remove: Collection[str] = ()) -> None:
    with get_client(sync_client=True) as client:
        tags = set(client.read_flow_run(run.id).tags)
        client.update_flow_run(run.id, tags=(tags | set(add)) - set(remove))
