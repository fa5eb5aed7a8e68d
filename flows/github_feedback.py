"""What GitHub shows of a run: a status beside the commit, and a deployment. Never part of the run itself."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast

from prefect.context import FlowRunContext
from prefect.exceptions import PrefectSignal
from prefect.utilities.urls import url_for

from blocks.environment import Environment
from blocks.github import GitHub, State
from blocks.image_builder import TestsFailed
from blocks.pushed_runs import read_runs, tags_of
from flows import ctrl_c
from flows.github_shown import Shown, opened, remember
from flows.turn import current_run
from releases.problem import Cancelled, Problem, Superseded
from releases.release import Release
from releases.trigger import Watched

BLOCK = "github"
PATIENCE = 15.0  # seconds that a run waits for GitHub when all is done
CALL_PATIENCE = 5.0  # seconds for one call of it
COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass
class Feedback:
    """Tells GitHub in a thread beside the run; of what does not get through in time the end is kept."""

    github: GitHub | None
    repository: str
    context: str
    service: str
    environment: str  # empty: nothing is deployed
    commit: str
    url: str = ""
    deployment: int | None = None
    missed: datetime | None = None  # when one was to be opened, until it is
    begun: bool = False
    former: str = ""  # the commit that was live, where this takes it back
    end: Shown | None = None
    heard: bool = False
    sent: list["Future[object]"] = field(default_factory=list)
    sender: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "github"))

    def begins(self, commit: str) -> None:
        """The run works on the commit from here on, and nobody else does."""
        self.commit, self.begun = commit, True
        self.missed = datetime.now(UTC) if self.environment else None
        said = f"releasing to {self.environment}" if self.environment else "testing and building"
        begin = self._as_of_now("pending", said)
        self._send(lambda github: self._begin(github, begin))

    def concerns(self, release: Release) -> None:
        """What is shown from here on is of this release's commit."""
        self.commit = commit_of(release)

    def takes_back(self, former: Release) -> None:
        """When the commit is live, the other one is not any more."""
        self.former = commit_of(former)

    def is_live(self, url: str) -> None:
        """The commit answers there."""
        self.url = url

    def waits(self) -> None:
        """For a person, without a process."""
        self._send(self._as_of_now("pending", "waits for an approval").show)

    def ended(self, state: State, said: str) -> None:
        """How the run has ended."""
        self.end = end = self._as_of_now(state, said)
        self._send(lambda github: self._end(github, end))

    def close(self) -> None:
        """Wait a moment for what has not got through."""
        wait(self.sent, PATIENCE)
        self.sender.shutdown(wait=False, cancel_futures=True)

    @property
    def untold(self) -> Shown | None:
        """The end that GitHub was to hear of and has not."""
        concerns_github = self.github is not None and COMMIT.fullmatch(self.commit)
        return self._told_of(self.end) if self.end and concerns_github and not self.heard else None

    def _send(self, tell: Callable[[GitHub], object]) -> None:
        github = self.github
        if github is not None and COMMIT.fullmatch(self.commit):
            self.sent.append(self.sender.submit(tell, github))

    def _begin(self, github: GitHub, begin: Shown) -> None:
        if begin.show(github) and self.environment:
            self.deployment = opened(github, begin)
            if self.deployment:
                github.set_deployment(self.repository, self.deployment, "in_progress", link=begin.link)
        if self.deployment or not github.away:  # what was refused is not asked for again
            self.missed = None

    def _end(self, github: GitHub, end: Shown) -> None:
        self.heard = self._told_of(end).tell(github)

    def _told_of(self, end: Shown) -> Shown:
        """With what GitHub has answered meanwhile."""
        return end.model_copy(update={"deployment": self.deployment, "missed": self.missed})

    def _as_of_now(self, state: State, said: str) -> Shown:
        run = current_run()
        return Shown(
            repository=self.repository,
            commit=self.commit,
            context=self.context,
            service=self.service,
            environment=self.environment,
            state=state,
            said=said,
            link=(url_for("flow-run", obj_id=run) or "") if run else "",
            url=self.url,
            former=self.former,
            at=datetime.now(UTC),
        )


@contextmanager
def told_github(
    where: Environment, watched: Watched | None, ref: str, *, deploys: bool = True
) -> Iterator[Feedback]:
    """Show the run on GitHub, where the environment watches its service and GitHub is connected."""
    context = context_of(where.name if deploys else "check", watched) if watched else ""
    environment = where.name if deploys else ""
    github = connected_github() if watched else None
    repository, service = (watched.repository, watched.name) if watched else ("", "")
    feedback = Feedback(github, repository, context, service, environment, ref)
    try:
        yield feedback
    except BaseException as error:
        _tell_why(feedback, error)
        raise
    else:
        feedback.ended("success", f"live at {feedback.url}" if feedback.url else "tests and build passed")
    finally:
        feedback.close()
        if feedback.untold:
            remember(feedback.untold, where.name)


def watched_by(where: Environment, source: str, path: str) -> Watched | None:
    """The service that these sources are watched as."""
    mine = (one for one in where.services if one.address == source and one.path.strip("/") == path.strip("/"))
    return next(mine, None)


def commit_of(release: Release) -> str:
    """The commit that it shows; empty where it is more than a commit."""
    return "" if release.dirty else release.revision


def context_of(kind: str, watched: Watched) -> str:
    """What the status beside a commit is called. `kind`: the environment, or `check`."""
    return f"model-deploy/{kind}/{watched.name}"


def connected_github() -> GitHub | None:
    """The block that `model-deploy github connect` has made."""
    try:
        github = cast("GitHub", GitHub.load(BLOCK))
    except ValueError:
        return None
    github.patience = min(github.patience, CALL_PATIENCE)
    return github


def _is_shown_as_waiting(feedback: Feedback) -> bool:
    """Whether this run has waited for an approval, and no other run speaks for its commit."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is None or not run.empirical_policy.pause_keys:
        return False
    ref = run.parameters.get("ref")
    runs = read_runs(tags_of(feedback.service, feedback.environment))
    return not any(other.id != run.id and other.parameters.get("ref") == ref for other in runs)


def _tell_why(feedback: Feedback, error: BaseException) -> None:
    if isinstance(error, Superseded) and not feedback.begun and not _is_shown_as_waiting(feedback):
        return  # another run speaks for this commit, or a newer one has taken over
    if isinstance(error, PrefectSignal):  # suspended: it starts again when a person has answered
        feedback.waits()
    elif isinstance(error, TestsFailed):
        feedback.ended("failure", f"{error.what}: {error.where}")
    elif isinstance(error, Cancelled | Superseded) or ctrl_c.pressed():
        feedback.ended("error", getattr(error, "what", "") or "cancelled; what was live before is live")
    elif isinstance(error, Problem):
        feedback.ended("failure", error.what)
    else:
        feedback.ended("error", f"ended early: {type(error).__name__}")
