"""From sources to a confirmed release, or back to what was live."""

import tempfile
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture, wait
from prefect.runtime import flow_run

from blocks.checkout import Checkout, check_out
from blocks.environment import Environment, load_environment
from blocks.git import masked
from blocks.image_builder import TestsFailed
from blocks.pick_lists import EnvironmentName
from blocks.remote import commits_between
from flows import deploying, earlier, pages
from flows.admission import Admission, admitted, findings, hooks_around, telling
from flows.deploying import deploy
from flows.github_feedback import told_github, watched_by
from flows.issuing import have_certificate
from flows.pushed import Pushed
from flows.result import ReleaseResult
from flows.stopwatch import Stopwatch, say_loudly
from flows.tagging import tag_version
from flows.turn import LOOK_SECONDS, name_the_end, stop_if_cancelled
from releases.approval import Proposal
from releases.model_version import is_version
from releases.problem import BadInput, Refused, Unreachable
from releases.release import Release, ReleasedModel
from releases.smoke import checks_of
from releases.source_key import source_key
from releases.spec import Model, ServiceSpec
from releases.spec_file import name_of, read_spec
from releases.version import TAGS, newest

STEPS = [
    *("check out", "reach the node", "certificate", "look for the image", "tests and build", "push"),
    *deploying.STEPS,
]


@dataclass(frozen=True)
class Sources:
    """What is released: the checkout, what it says of itself, and the key of its build."""

    checkout: Checkout
    spec: ServiceSpec
    service: str
    key: str


def _worth_retrying(_task: Any, _run: Any, state: Any) -> bool:
    """Only what the outside world did; a wrong ref or spec stays wrong."""
    return isinstance(state.result(raise_on_failure=False), Unreachable)


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
        with watch.step("check out"):
            sources = read_sources(where, source, ref, path, Path(folder))
            weights = find_model(where, sources, model)
        with watch.step("reach the node"):
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
            checks = checks_of(sources.spec.smoke, sources.spec.run.health.path)
            with hooks_around(where, admission.proposal):
                made = claim(where, sources, image, weights, admission, tests)
                deployed = deploy(where, made, checks, sources.spec.confirm.bake, watch)
        github.is_live(deployed.url)
        pages.publish(deployed, before, str(sources.checkout.repository))
    tag_version(where, made)
    bar.done()
    return ReleaseResult.of(deployed, reused=tests is None)


@task(
    name="check out",
    task_run_name="check out",
    retries=2,
    retry_delay_seconds=[1, 5],
    retry_condition_fn=_worth_retrying,
    cache_policy=NO_CACHE,
)
def read_sources(
    where: Environment, source: str, ref: str, path: str, folder: Path, also: str = ""
) -> Sources:
    """Check out, read the spec, and compute the key of the build."""
    into = Path(tempfile.mkdtemp(dir=folder))
    checkout = check_out(source, ref, path, into, also)
    spec = read_spec(checkout.folder)
    checkout.require(spec.build.dockerfile)
    bases = where.builder.bases(checkout.folder, spec.build)
    key = "" if checkout.dirty else source_key(checkout.tree, spec.build, bases)
    service = name_of(spec, Path(path).name or Path(source.rstrip("/").removesuffix(".git")).resolve().name)
    spec = spec.model_copy(update={"run": spec.run.naming_secrets(service)})
    return Sources(checkout, spec, service, key)


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
    built = earlier.built(where, sources.service, f"src-{sources.key}") if asked else None
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


def find_or_make_image(
    where: Environment, sources: Sources, watch: Stopwatch, *, rebuild: bool
) -> tuple[str, int | None]:
    """The image of these sources, and how many tests they passed; None: it was there already."""
    repository, log = where.registry.repository(sources.service), get_run_logger()
    if sources.checkout.dirty:
        say_loudly("the working tree has uncommitted changes: this build is marked dirty and never reused")
    elif not rebuild:
        with watch.step("look for the image"):
            found = earlier.built(where, sources.service, f"src-{sources.key}")
        if found:
            log.info("these sources were tested and built before, which is skipped: %s is used", found.image)
            return where.registry.bring(found.image, found.registry, repository, [f"src-{sources.key}"]), None
    # Ours alone for as long as our turn is, and no other server's that shares the engine.
    builds = f"model-deploy-build/{sources.service}-{where.document}"
    local = f"{builds}:{sources.checkout.short}"
    try:
        with watch.step("tests and build"):
            tests = test_and_build(where, sources, local)
        with watch.step("push"):
            tags = [f"src-{sources.key}"] if sources.key else []
            return push_image(where, local, repository, [*tags, sources.checkout.short]), tests
    finally:
        where.builder.forget(builds)


def test_and_build(where: Environment, sources: Sources, local: str) -> int:
    """The tests, and beside them the image as `local`; how many have passed. Raises Failed, Cancelled."""
    stop, ended = threading.Event(), threading.Semaphore(0)
    tests = run_tests.submit(where, sources, local, stop)
    build = build_image.submit(where, sources, local, stop)
    going: list[PrefectFuture[Any]] = [tests, build]
    for one in going:
        one.add_done_callback(lambda _: ended.release())
    try:
        for _ in going:
            while not ended.acquire(timeout=LOOK_SECONDS):
                stop_if_cancelled()
        stop_if_cancelled(anew=True)
    except BaseException:  # Ctrl-C, too
        stop.set()
        wait(going)
        raise
    build.result()
    return tests.result()


@task(name="tests", task_run_name="tests", cache_policy=NO_CACHE)
def run_tests(where: Environment, sources: Sources, local: str, stop: threading.Event) -> int:
    """Run the service's tests in a container of its test stage; how many. The report becomes a table."""
    spec, log = sources.spec, get_run_logger()
    if spec.test.target is None:
        say_loudly("NO TESTS ARE RUN: model-deploy.yaml names no test.target")
        return 0
    stage = spec.build.model_copy(update={"target": spec.test.target})
    image = where.builder.build(sources.checkout.folder, stage, f"{local}-tests", {}, log.debug, stop)
    try:
        report = where.builder.test(image, spec.test, log.info, stop)
    except TestsFailed as failed:
        pages.show_tests(sources.service, failed.report)
        raise
    if not report.cases:
        say_loudly(f"NO TEST IS REPORTED in {spec.test.junit}: does test.junit name the tests' JUnit report?")
    pages.show_tests(sources.service, report)
    return len(report.cases)


@task(name="build", task_run_name="build", cache_policy=NO_CACHE)
def build_image(where: Environment, sources: Sources, local: str, stop: threading.Event) -> None:
    """Build the image that will serve."""
    checkout = sources.checkout
    labels = {
        "org.opencontainers.image.revision": checkout.revision,
        "org.opencontainers.image.version": checkout.short,
        "org.opencontainers.image.source": checkout.source,
        "org.opencontainers.image.created": datetime.now(UTC).isoformat(timespec="seconds"),
        "model-deploy.source-key": sources.key,
    }
    where.builder.build(checkout.folder, sources.spec.build, local, labels, get_run_logger().debug, stop)


@task(name="push", task_run_name="push", cache_policy=NO_CACHE)
def push_image(where: Environment, local: str, repository: str, tags: list[str]) -> str:
    """Push; the registry's digest is what everything after this speaks of."""
    return where.registry.push(local, repository, tags)


def find_model(where: Environment, sources: Sources, asked: str) -> ReleasedModel | None:
    """The model as it is published now; an alias is followed here, once. Raises BadInput."""
    wanted, models = Model.parse(asked) if asked else sources.spec.model, where.models()
    if wanted is None:
        return None
    if wanted.version not in {one.manifest.version for one in models.versions(wanted.name)}:
        brought = earlier.bring_model(where, sources.service, wanted)
        if brought:
            return brought
    if not asked and is_version(wanted.version) and not models.versions(wanted.name):
        get_run_logger().info("%s is published nowhere: the image must carry it", wanted)
        return ReleasedModel(name=wanted.name, version=wanted.version)
    found = models.released(wanted)
    get_run_logger().info("%s is %s, SHA-256 %s", wanted, found, found.sha256)
    return found


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
