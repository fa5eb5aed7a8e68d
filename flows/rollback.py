"""Back to a release that was good, as a release of its own."""

from datetime import UTC, datetime
from typing import Annotated

from prefect import flow
from prefect.runtime import flow_run
from pydantic import Field

from blocks.environment import load_environment
from blocks.pick_lists import EnvironmentName, ServiceName
from flows import deploying, pages
from flows.admission import telling
from flows.deploying import deploy, settle_open_claims
from flows.github_feedback import commit_of, told_github
from flows.issuing import have_certificate
from flows.result import ReleaseResult
from flows.stopwatch import Step, Stopwatch
from flows.turn import name_the_end, turn
from releases.problem import BadInput
from releases.release import Release

STEPS = [Step.reach, Step.look_for_image, Step.certificate, *deploying.STEPS]


@flow(
    name="rollback",
    flow_run_name="rollback {service} in {environment}",
    on_failure=[name_the_end],
    on_crashed=[name_the_end],
)
def rollback(
    service: ServiceName,
    to: str = "",
    environment: EnvironmentName = "local",
    bake: Annotated[float, Field(ge=0)] = 0,
) -> ReleaseResult:
    """Bring back an earlier release: same image digest, model version and settings, under a new number.

    Args:
        service: The service's name.
        to: Release number or version; the last good one if empty.
        environment: Where to roll back.
        bake: Seconds to watch it before it is confirmed.

    """
    where, bar = load_environment(environment), pages.Progress(STEPS, f"rollback in {environment}")
    watch = Stopwatch(bar.at)
    with (
        told_github(where, where.watched(service), "") as github,
        telling(where, f"rollback of {service} in {environment}"),
    ):
        with watch.step(Step.reach):
            where.target.ensure_node(going_back=True)
        with turn(service, environment, f"{service} back in {environment}"):
            settle_open_claims(where, service)
            ledger = where.ledger(service)
            live = ledger.live()
            if live is None:
                raise BadInput(
                    f"{service} has no release in {environment} yet", next_step="model-deploy release"
                )
            old = ledger.named(to) if to else ledger.before(live.release)
            github.concerns(old)
            with watch.step(Step.look_for_image):  # a node that has pruned it pulls it again
                where.registry.require(old.image)
                where.models().check(old.model)
            have_certificate(where, service, old.run, watch)
            github.takes_back(live.release)
            github.begins(commit_of(old))
            made = ledger.claim(lambda number: again(old, number))
            deployed = deploy(where, made, bake, watch)
        github.is_live(deployed.url)
    pages.publish(deployed, live, old.source)
    bar.done()
    return ReleaseResult.of(deployed, reused=True)


def again(old: Release, number: int) -> Release:
    """The old release's content under a new number."""
    changes = {
        "number": number,
        "restores": old.content_number,
        "rollout": None,  # it was good before
        "promoted": None,
        "approval": None,  # the way back waits for nobody; nor do freeze windows and hooks stop it
        "freeze_override": "",
        "created": datetime.now(UTC),
        "created_by": str(flow_run.id or ""),
    }
    return old.model_copy(update=changes)
