"""From sources to a confirmed release, or back to what was live."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path

from prefect import flow
from prefect.runtime import flow_run

from blocks.environment import Environment, load_environment
from blocks.git import masked
from blocks.pick_lists import EnvironmentName
from blocks.remote import commits_between
from flows import deploying, earlier, pages
from flows.admission import Admission, admitted, findings, hooks_around, telling
from flows.building import find_or_make_image
from flows.deploying import deploy
from flows.github_feedback import told_github, watched_by
from flows.issuing import have_certificate
from flows.pushed import Pushed
from flows.result import ReleaseResult
from flows.sources import Sources, find_model, read_sources
from flows.stopwatch import Step, Stopwatch
from flows.tagging import tag_version
from flows.turn import name_the_end, stop_if_cancelled
from releases.approval import Proposal
from releases.problem import BadInput, Refused
from releases.release import Release, ReleasedModel
from releases.version import TAGS, newest

STEPS = [
    *(Step.check_out, Step.reach, Step.certificate, Step.look_for_image, Step.tests_and_build, Step.push),
    *deploying.STEPS,
]


def _run_name() -> str:
    """What Prefect calls the run from its first moment on, to everybody."""
    asked = flow_run.parameters
    return f"release {masked(asked['source'])} at {asked['ref']} to {asked['environment']}"


@flow(
    name="release",
    flow_run_name=_run_name,
    on_failure=[name_the_end],
    on_crashed=[name_the_end],
)
def release(
    source: str = ".",
    ref: str = "HEAD",
    path: str = "",
    environment: EnvironmentName = "local",
    rebuild: bool = False,
    branch: str = "",
    model: str = "",
    override_freeze: str = "",
) -> ReleaseResult:
    """Test, build, push, deploy, smoke-test and confirm a model service.

    Args:
        source: Repository: a path on the worker's machine, or a git URL.
        ref: Branch, tag or commit.
        path: The service's folder in the repository.
        environment: Where to release to.
        rebuild: Build and test even if these sources were built before.
        branch: Given by pushes: go on only if the commit is still this branch's newest.
        model: NAME=VERSION or NAME=ALIAS of a published model; the spec's model if empty.
        override_freeze: Why it may go out in a freeze window; recorded in the release.

    """
    where, bar = load_environment(environment), pages.Progress(STEPS, f"release to {environment}")
    watch, title = Stopwatch(bar.at), f"release to {environment}"
    with (
        told_github(where, watched_by(where, source, path), ref) as github,
        telling(where, title),
        tempfile.TemporaryDirectory(prefix="model-deploy-") as folder,
    ):
        with watch.step(Step.check_out):
            sources = read_sources(where, source, ref, path, Path(folder))
            weights = find_model(where, sources, model)
        with watch.step(Step.reach):
            where.target.ensure_node()
            deploying.public_port(where, sources.service, sources.spec.run)  # taken? said before the build
        pushed = Pushed(where, sources.service, source, sources.checkout.revision, branch)
        pushed.begin()
        with admitted(
            where,
            sources.service,
            lambda: propose(where, sources, weights),
            override_freeze,
            pushed.may_be_newest,
        ) as admission:
            pushed.stop_if_not_newest()
            github.begins(sources.checkout.revision)
            have_certificate(where, sources.service, sources.spec.run, watch)
            stop_if_cancelled()
            image, tests = find_or_make_image(where, sources, watch, rebuild=rebuild)
            stop_if_cancelled()
            before = where.ledger(sources.service).live()
            with hooks_around(where, admission.proposal):
                made = claim(where, sources, image, weights, admission, tests)
                deployed = deploy(where, made, made.bake, watch)
        github.is_live(deployed.url)
        pages.publish(deployed, before, str(sources.checkout.repository))
    tag_version(where, made)
    bar.done()
    return ReleaseResult.of(deployed, reused=tests is None)


def propose(where: Environment, sources: Sources, weights: ReleasedModel | None) -> Proposal:
    """What would change, as it is now."""
    checkout, entry = sources.checkout, where.ledger(sources.service).live()
    live = entry.release if entry else None
    asked = where.rules.approval is not None  # else nobody reads it
    if asked and checkout.dirty:
        raise Refused(
            "uncommitted changes cannot be approved: they may change before they are built",
            where=checkout.source,
            next_step="commit them",
        )
    built = earlier.built(where, sources.service, sources.key) if asked else None
    commits = (
        commits_between(str(checkout.repository), live.revision, checkout.revision) if asked and live else []
    )
    return Proposal(
        service=sources.service,
        environment=where.name,
        version=checkout.short,
        revision=checkout.revision,
        image=built.image if built else "",
        content=checkout.revision,
        model=weights,
        live=live,
        commits=tuple(commits),
        proof=earlier.proof(where, sources.service, built.image, weights) if built else None,
        findings=findings(where, where.models(), weights, live),
    )


def claim(
    where: Environment,
    sources: Sources,
    image: str,
    weights: ReleasedModel | None,
    admission: Admission,
    tests: int | None,
) -> Release:
    """Write the release into the ledger under the next number."""
    spec, checkout = sources.spec, sources.checkout
    port = spec.run.port or _only_port(where, image)
    public_port = deploying.public_port(where, sources.service, spec.run)

    def make(number: int) -> Release:
        return Release(
            service=sources.service,
            environment=where.name,
            number=number,
            image=image,
            version=newest(checkout.tags, where.tags or TAGS) or checkout.short,
            revision=checkout.revision,
            source=checkout.source,
            source_key=sources.key,
            dirty=checkout.dirty,
            model=weights,
            port=port,
            public_port=public_port,
            run=spec.run,
            smoke=tuple(spec.smoke),
            confirm_window=spec.confirm_window,
            rollout=spec.rollout,
            bake=spec.confirm.bake,
            tests=earlier.tests_of(where, sources.service, image) if tests is None else tests,
            promoted=earlier.proof(where, sources.service, image, weights),
            approval=admission.approval,
            freeze_override=admission.freeze_override,
            created=datetime.now(UTC),
            created_by=str(flow_run.id or ""),
        )

    return where.ledger(sources.service).claim(make)


def _only_port(where: Environment, image: str) -> int:
    where.registry.pull(image)
    ports = where.builder.exposed(image)
    if len(ports) != 1:
        raise BadInput(
            "the service's port is not known",
            expected="one EXPOSE in the Dockerfile, or run.port in model-deploy.yaml",
            got=f"EXPOSE {ports}" if ports else "neither",
        )
    return ports[0]
