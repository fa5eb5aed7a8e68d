"""A pull request's newest commit: tested and built. Nothing is pushed or deployed, and no secret is read."""

import tempfile
from pathlib import Path

from prefect import flow
from prefect.runtime import flow_run
from pydantic import BaseModel

from blocks.environment import load_environment
from blocks.git import masked
from blocks.pick_lists import EnvironmentName
from flows import pages
from flows.building import test_and_build
from flows.github_feedback import told_github, watched_by
from flows.sources import read_sources
from flows.stopwatch import Step, Stopwatch
from flows.turn import name_the_end, stop_if_newer_check

STEPS = [Step.check_out, Step.tests_and_build]


class CheckResult(BaseModel):
    """A check that passed."""

    service: str
    commit: str
    seconds: dict[str, float]


def _run_name() -> str:
    asked = flow_run.parameters
    return f"check pull request {asked['pull_request']} of {masked(asked['source'])}"


@flow(
    name="check",
    flow_run_name=_run_name,
    on_failure=[name_the_end],
    on_crashed=[name_the_end],
)
def check(
    source: str, ref: str, pull_request: int, path: str = "", environment: EnvironmentName = "local"
) -> CheckResult:
    """Test and build a pull request's commit; a newer commit of it supersedes this one.

    Args:
        source: The repository that it asks to be merged into.
        ref: The commit.
        pull_request: Its number.
        path: The service's folder in the repository.
        environment: Whose builder is used.

    """
    where, bar = load_environment(environment), pages.Progress(STEPS, f"check of pull request {pull_request}")
    watch, builds = Stopwatch(bar.at), f"model-deploy-check/{flow_run.id or 'by-hand'}"
    with (
        told_github(where, watched_by(where, source, path), ref, deploys=False) as github,
        tempfile.TemporaryDirectory(prefix="model-deploy-") as folder,
    ):
        with watch.step(Step.check_out):
            sources = read_sources(where, source, ref, path, Path(folder), f"refs/pull/{pull_request}/head")
        stop_if_newer_check()
        github.begins(sources.checkout.revision)
        try:
            with watch.step(Step.tests_and_build):
                test_and_build(where, sources, f"{builds}:{sources.checkout.short}")
        finally:
            where.builder.forget(builds)
    bar.done()
    return CheckResult(service=sources.service, commit=sources.checkout.revision, seconds=watch.seconds)
