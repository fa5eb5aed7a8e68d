"""From sources to an image in the registry: found there, or tested, built and pushed."""

import threading
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture, wait

from blocks.environment import Environment
from blocks.image_builder import TestsFailed
from flows import earlier, pages
from flows.sources import Sources
from flows.stopwatch import Step, Stopwatch, say_loudly
from flows.turn import LOOK_SECONDS, stop_if_cancelled
from releases.source_key import LABEL, source_tag


def find_or_make_image(
    where: Environment, sources: Sources, watch: Stopwatch, *, rebuild: bool
) -> tuple[str, int | None]:
    """The image of these sources, and how many tests they passed; None: it was there already."""
    repository, log = where.registry.repository(sources.service), get_run_logger()
    if sources.checkout.dirty:
        say_loudly("the working tree has uncommitted changes: this build is marked dirty and never reused")
    elif not rebuild:
        with watch.step(Step.look_for_image):
            found = earlier.built(where, sources.service, sources.key)
        if found:
            log.info("these sources were tested and built before, which is skipped: %s is used", found.image)
            return where.registry.bring(
                found.image, found.registry, repository, [source_tag(sources.key)]
            ), None
    # Ours alone for as long as our turn is, and no other server's that shares the engine.
    builds = f"model-deploy-build/{sources.service}-{where.document}"
    local = f"{builds}:{sources.checkout.short}"
    try:
        with watch.step(Step.tests_and_build):
            tests = test_and_build(where, sources, local)
        with watch.step(Step.push):
            tags = [source_tag(sources.key)] if sources.key else []
            return push_image(where, local, repository, [*tags, sources.checkout.short]), tests
    finally:
        where.builder.forget(builds)


def test_and_build(where: Environment, sources: Sources, local: str) -> int:
    """The tests, and beside them the image as `local`; how many have passed. Raises Failed, Cancelled.

    What fails first ends the other, and is what is said.
    """
    stop, ended = threading.Event(), SimpleQueue[PrefectFuture[Any]]()
    tests = run_tests.submit(where, sources, local, stop)
    going: list[PrefectFuture[Any]] = [tests, build_image.submit(where, sources, local, stop)]
    for one in going:
        one.add_done_callback(ended.put)
    try:
        for _ in going:
            _next_ended(ended).result()
        stop_if_cancelled(anew=True)
    except BaseException:  # Ctrl-C, too
        stop.set()
        wait(going)
        raise
    return tests.result()


def _next_ended(ended: SimpleQueue[PrefectFuture[Any]]) -> PrefectFuture[Any]:
    while True:
        try:
            return ended.get(timeout=LOOK_SECONDS)
        except Empty:
            stop_if_cancelled()


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
        LABEL: sources.key,
    }
    where.builder.build(checkout.folder, sources.spec.build, local, labels, get_run_logger().debug, stop)


@task(name="push", task_run_name="push", cache_policy=NO_CACHE)
def push_image(where: Environment, local: str, repository: str, tags: list[str]) -> str:
    """Push; the registry's digest is what everything after this speaks of."""
    return where.registry.push(local, repository, tags)
