"""A run that a push has started goes on only with the newest commit, and with each only once."""

from dataclasses import dataclass

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.states import Cancelled

from blocks.environment import Environment
from blocks.pushed_runs import PUSHED, SUPERSEDED, TAG, UNSURE, attempt, read_runs, tags_of
from blocks.remote import changed_files, read_refs
from flows.approval import WAITS
from flows.missed import known_of, matters
from flows.turn import current_run
from releases.problem import NothingToDo, Superseded, Unreachable
from releases.reconcile import is_repeat
from releases.version import newest_like


@dataclass(frozen=True)
class Pushed:
    """A service's commit; `branch` is empty where no push to one has started the run."""

    environment: Environment
    service: str
    source: str
    commit: str
    branch: str

    def is_newest(self) -> bool:
        """Whether no newer commit matters to the service, or no newer tag is there. Raises Unreachable."""
        if not self.branch:
            return bool(_own_tag()) and not self._newer_tag()
        head = read_refs(self.source).branches.get(self.branch)
        if head == self.commit:
            return True
        watched = self.environment.watched(self.service)
        if head is None or watched is None:
            return False
        files = changed_files(self.source, self.commit, head)
        return files is not None and not watched.cares_about(files)

    def may_be_newest(self) -> bool:
        """The same while waiting, where a repository that does not answer says nothing."""
        try:
            return self.is_newest()
        except Unreachable:
            return True

    def begin(self) -> None:
        """Before a person is asked, or a turn waited for. Raises Superseded, NothingToDo, Unreachable.

        Nobody is asked about what is behind this commit any more.
        """
        self._stop_if_late()
        if self.branch and UNSURE in current_tags():
            self._stop_if_untouched()
        if self.branch:
            end_outdated(self.environment, self.service)

    def stop_if_not_newest(self) -> None:
        """For who holds the turn. Raises Superseded, NothingToDo, Unreachable."""
        self._stop_if_late()
        if not self.branch:
            return
        runs = read_runs([*tags_of(self.service, self.environment.name), PUSHED])
        mine = current_run()
        own = next((run for run in runs if run.id == mine), None)
        earlier = [run for run in runs if own and run.created and own.created and run.created < own.created]
        if is_repeat(self.commit, tuple(attempt(run) for run in earlier)):
            raise Superseded(
                f"{self.commit[:8]} has been tried here already", got=f"flow run {earlier[0].name}"
            )
        get_run_logger().info("%s is what %s is now", self.commit[:8], self.branch)

    def _stop_if_late(self) -> None:
        if self.branch and not self.is_newest():
            raise Superseded(
                f"{self.commit[:8]} is not what {self.branch} is now",
                next_step="nothing: a newer run goes on",
            )
        if not self.branch and PUSHED in current_tags():  # by a tag, such as `release: auto` makes
            live = self.environment.ledger(self.service).live()
            if live and live.release.revision == self.commit and not live.release.dirty:
                raise NothingToDo(f"nothing to do: {self.commit[:8]} is live already")
            newer = self._newer_tag()
            if newer:
                raise Superseded(
                    f"{_own_tag()} at {self.commit[:8]} is not the newest version",
                    got=newer,
                    next_step=f"to go back to it all the same: model-deploy release {self.source}"
                    f" --ref {self.commit[:8]} -e {self.environment.name}",
                )

    def _newer_tag(self) -> str:
        """The newest version's tag and its commit, where that is another. Raises Unreachable."""
        own, there = _own_tag(), read_refs(self.source).tags
        last = newest_like(own, [own, *there])
        commit = there.get(last, self.commit)  # its own may be deleted by now, or moved
        return f"{last} at {commit[:8]}" if commit != self.commit else ""

    def _stop_if_untouched(self) -> None:
        watched = self.environment.watched(self.service)
        if watched is None:
            return
        live = self.environment.ledger(self.service).live()
        known = known_of(self.environment, self.service, live, self.commit)
        if not matters(watched, known, self.commit):
            raise NothingToDo(
                f"nothing to do: {self.commit[:8]} touches no file that {self.service} cares about",
                next_step="to release it again all the same: model-deploy release",
            )


def end_outdated(where: Environment, service: str) -> list[FlowRun]:
    """End those that wait for an approval of what their branch has left behind, as superseded."""
    ended = []
    for run in read_runs([*tags_of(service, where.name), WAITS]):
        given, paused = run.parameters, run.state is not None and run.state.is_paused()
        if not paused or not given.get("branch"):
            continue
        if Pushed(where, service, given["source"], given["ref"], given["branch"]).may_be_newest():
            continue
        said = f"{given['ref'][:8]} is not what {given['branch']} is now"
        with get_client(sync_client=True) as client:  # not forced: somebody may answer just now
            client.set_flow_run_state(run.id, Cancelled(name=SUPERSEDED, message=said))
        ended.append(run)
    return ended


def _own_tag() -> str:
    """The version's that has started the run; empty where none has."""
    return next((tag.removeprefix(TAG) for tag in current_tags() if tag.startswith(TAG)), "")


def current_tags() -> set[str]:
    """The tags that the flow run was created with."""
    context = FlowRunContext.get()
    return set(context.flow_run.tags) if context and context.flow_run else set()
