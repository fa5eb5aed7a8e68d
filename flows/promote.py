"""From one environment to the next: the same image and model version, not built again."""

from datetime import UTC, datetime

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from blocks.environment import Environment, load_environment
from blocks.pick_lists import EnvironmentName, ServiceName
from blocks.remote import commits_between
from blocks.smoke import run_checks_on_each
from flows import deploying, pages
from flows.admission import Admission, admitted, findings, hooks_around, telling
from flows.deploying import deploy
from flows.earlier import copy_model
from flows.github_feedback import commit_of, told_github
from flows.issuing import have_certificate
from flows.result import ReleaseResult
from flows.stopwatch import Step, Stopwatch
from flows.tagging import tag_version
from flows.turn import name_the_end, stop_if_cancelled
from releases.approval import Proposal
from releases.evidence import Proof
from releases.problem import Failed, Refused
from releases.release import Release
from releases.smoke import checks_of, p95
from releases.version import image_tag

STEPS = [Step.look_at_source, Step.reach, Step.certificate, Step.copy, *deploying.STEPS]


@flow(
    name="promote",
    flow_run_name="promote {service} from {from_environment} to {to_environment}",
    on_failure=[name_the_end],
    on_crashed=[name_the_end],
)
def promote(
    service: ServiceName,
    from_environment: EnvironmentName = "staging",
    to_environment: EnvironmentName = "production",
    override_freeze: str = "",
) -> ReleaseResult:
    """Release what is live in one environment to the next: same image digest, model version and settings.

    Args:
        service: The service's name.
        from_environment: Where it is live and good.
        to_environment: Where it shall be.
        override_freeze: Why it may go out in a freeze window; recorded in the release.

    """
    source, where = load_environment(from_environment), load_environment(to_environment)
    bar = pages.Progress(STEPS, f"promotion to {to_environment}")
    watch = Stopwatch(bar.at)
    with (
        told_github(where, where.watched(service), "") as github,
        telling(where, f"promotion of {service} to {to_environment}"),
    ):
        allowed(source, where)
        with watch.step(Step.look_at_source):
            proven = look_at_the_source(source, service)
        github.concerns(proven[0])
        with watch.step(Step.reach):
            where.target.ensure_node()
            deploying.public_port(where, service, proven[0].run)
        with admitted(where, service, lambda: propose(source, where, *proven), override_freeze) as admission:
            stop_if_cancelled()
            have_certificate(where, service, proven[0].run, watch)
            with watch.step(Step.copy):
                image = copy_image(source, where, proven[0])
                copy_model(source.models().store, where.models().store, proven[0].model)
                where.models().check(proven[0].model)
            before = where.ledger(service).live()
            with hooks_around(where, admission.proposal):
                github.begins(commit_of(proven[0]))
                made = claim(where, proven[0], image, admission)
                deployed = deploy(where, made, made.bake, watch)
        github.is_live(deployed.url)
        pages.publish(deployed, before, made.source)
    tag_version(where, made)
    bar.done()
    return ReleaseResult.of(deployed, reused=True)


def allowed(source: Environment, where: Environment) -> None:
    """Whether the environment takes releases from there. Raises Refused."""
    if source.name not in where.rules.promotes_from:
        known = ", ".join(where.rules.promotes_from)
        raise Refused(
            f"{where.name} takes no releases from {source.name}",
            where="promotes_from in the environments' file",
            expected=f"one of {known}" if known else "an environment that it promotes from",
            got=source.name,
            next_step="name it there, then: model-deploy apply",
        )


@task(task_run_name="look at the source", cache_policy=NO_CACHE)
def look_at_the_source(source: Environment, service: str) -> tuple[Release, Proof]:
    """What is live there, and proof that it is good: record, node and its own checks. Raises Refused."""
    entry = source.ledger(service).live()
    if entry is None or entry.outcome is None:
        raise Refused(
            f"no release of {service} was ever confirmed in {source.name}",
            expected="what is promoted was good there first",
            next_step=f"model-deploy release -e {source.name}",
        )
    release, status = entry.release, source.target.status(service)
    if (status.live, status.confirmed) != (release.number, release.number):
        raise Refused(
            f"release {release.number} of {service} is not live in {source.name}",
            expected="the release that was confirmed last is the one that answers",
            got=f"release {status.live or 'none'} has the traffic ({status.phase})",
            next_step=f"model-deploy status {service} -e {source.name}",
        )
    urls = source.target.urls(release.public_port)
    try:
        results = run_checks_on_each(
            checks_of(release), urls, release.number, None, stop_if_cancelled, release.host
        )
    except Failed as failed:
        failed.what = f"release {release.number} of {service} is not well in {source.name}: {failed.what}"
        raise Refused(failed.what, failed.where, failed.expected, failed.got) from failed
    checks = {result.title: round(p95(list(result.latencies)), 4) for result in results}
    return release, Proof(
        environment=source.name,
        number=release.number,
        confirmed=entry.outcome.at,
        run=release.created_by,
        tests=release.tests,
        checks=checks,
    )


def propose(source: Environment, where: Environment, release: Release, proof: Proof) -> Proposal:
    """What would change, as it is now."""
    entry = where.ledger(release.service).live()
    live = entry.release if entry else None
    return Proposal(
        service=release.service,
        environment=where.name,
        version=release.version,
        revision=release.revision,
        image=release.image,
        content=release.digest,
        model=release.model,
        live=live,
        commits=tuple(commits_between(release.source, live.revision, release.revision)) if live else (),
        proof=proof,
        findings=findings(where, source.models(), release.model, live),
    )


@task(task_run_name="copy the image", cache_policy=NO_CACHE)
def copy_image(source: Environment, where: Environment, release: Release) -> str:
    """The image in the environment's own registry; the same digest."""
    repository = where.registry.repository(release.service)
    return where.registry.bring(release.image, source.registry, repository, [image_tag(release.version)])


def claim(where: Environment, proven: Release, image: str, admission: Admission) -> Release:
    """Write the release into the environment's ledger under the next number."""
    changes = {
        "environment": where.name,
        "image": image,
        "public_port": deploying.public_port(where, proven.service, proven.run),
        "restores": None,
        "promoted": admission.proposal.proof,
        "approval": admission.approval,
        "freeze_override": admission.freeze_override,
        "created": datetime.now(UTC),
        "created_by": str(flow_run.id or ""),
    }
    return where.ledger(proven.service).claim(
        lambda number: proven.model_copy(update={**changes, "number": number})
    )
