"""What GitHub is to show of a run; an end that it could not be told of is kept for reconcile, at the run."""

from datetime import datetime

import httpx
from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import PrefectException
from pydantic import BaseModel

from blocks.github import DeploymentState, GitHub, State
from flows.turn import current_run

UNHEARD = "model-deploy:unheard"  # tag of a run whose end GitHub does not know
UNTOLD = "model-deploy.untold"  # label of it: what it would have said


class Shown(BaseModel):
    """A status beside a commit, and the deployment that goes with it."""

    repository: str
    commit: str
    context: str
    service: str
    environment: str = ""  # empty: nothing is deployed
    state: State
    said: str
    link: str = ""
    url: str = ""
    deployment: int | None = None
    missed: datetime | None = None  # since when one should be there that GitHub may know nothing of
    former: str = ""  # the commit that was live, where this took it back
    at: datetime

    def show(self, github: GitHub) -> bool:
        """The status alone; whether it got through."""
        return self._show(github, self.commit, self.state, self.said)

    def tell(self, github: GitHub) -> bool:
        """All of an end; whether nothing of it is left to tell. What GitHub refuses it would refuse again."""
        return self._tell(github, self.state, late=False)

    def tell_late(self, github: GitHub, *, over: bool) -> bool:
        """The same some time later. `over`: another release is live by now."""
        return self._tell(github, "inactive" if over else self.state, late=True)

    def _tell(self, github: GitHub, deployed: DeploymentState, *, late: bool) -> bool:
        """`late`: a later run may have spoken meanwhile, which is left as it is."""
        spoken_for = late and self._is_spoken_for(github, self.commit)
        if late and github.away:  # it has not said
            return False
        if not spoken_for and not self.show(github):
            return not github.away
        number = self.deployment or self._missing(github)
        if number and not github.away:
            github.set_deployment(
                self.repository, number, deployed, url=self.url, link=self.link, description=self.said
            )
        takes_back = self.state == "success" and self.former not in {"", self.commit}
        if takes_back and not github.away:
            spoken_for = late and self._is_spoken_for(github, self.former)
            if not spoken_for and not github.away:
                self._end_former(github)
        return not github.away

    def _show(self, github: GitHub, commit: str, state: State, said: str) -> bool:
        return github.set_status(
            self.repository, commit, state, context=self.context, description=said, link=self.link
        )

    def _is_spoken_for(self, github: GitHub, commit: str) -> bool:
        """Whether GitHub was told of a later run meanwhile; its clock may differ from ours."""
        shown = github.status(self.repository, commit, self.context)
        ours = shown is not None and bool(self.link) and shown.target_url == self.link
        return shown is not None and not ours and shown.created_at > self.at

    def _missing(self, github: GitHub) -> int | None:
        """The deployment that could not be opened when the run began, or whose number never came back."""
        if self.missed is None:
            return None
        since = self.missed.replace(microsecond=0)  # as exact as GitHub's
        for one in github.deployments(self.repository, self.commit, self.environment):
            if one.description == self.context and one.created_at >= since:
                return one.id
        return None if github.away else opened(github, self)

    def _end_former(self, github: GitHub) -> None:
        said = f"taken back: {self.commit[:8]} is live again"
        if not self._show(github, self.former, "error", said):
            return
        for one in github.deployments(self.repository, self.former, self.environment):
            if one.description == self.context:
                github.set_deployment(self.repository, one.id, "inactive", description=said)
                return


def opened(github: GitHub, run: Shown) -> int | None:
    """A new deployment's number; None where GitHub has made none."""
    production = run.environment == "production"
    return github.open_deployment(
        run.repository, run.commit, run.environment, production=production, description=run.context
    )


def remember(end: Shown, environment: str) -> None:
    """Leave it to reconcile; where Prefect is away as well, it stays untold."""
    run = current_run()
    if run is None:
        return
    try:
        with get_client(sync_client=True) as client:
            client.update_flow_run_labels(run, {UNTOLD: end.model_dump_json()})
            tags = {*client.read_flow_run(run).tags, UNHEARD, f"environment:{environment}"}
            client.update_flow_run(run, tags=tags)
    except (httpx.HTTPError, PrefectException) as error:
        get_run_logger().warning("GitHub does not know how this has ended, and is not told later: %s", error)


def untold(run: FlowRun) -> Shown | None:
    """What the run would have said, had GitHub listened."""
    said = run.labels.get(UNTOLD)
    return Shown.model_validate_json(said) if isinstance(said, str) else None
