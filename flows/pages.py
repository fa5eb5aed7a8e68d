"""What a person sees of a release in the Prefect UI."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from typing import TYPE_CHECKING, cast

from prefect import get_run_logger
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from blocks import pick_lists
from blocks.image_builder import TestReport
from blocks.remote import commits_between
from blocks.smoke import CheckResult
from flows.deploying import Deployed
from flows.latency_plot import latency_plot
from flows.stopwatch import Step
from releases.ledger import Entry
from releases.release import Release
from releases.smoke import p95

if TYPE_CHECKING:
    from uuid import UUID


class Progress:
    """A bar in the UI over the steps that are known beforehand; shown by a thread, so that no step waits."""

    def __init__(self, steps: Sequence[Step], description: str) -> None:
        self.steps = steps
        self.description = description
        self.artifact: UUID | None = None
        self.sender = ThreadPoolExecutor(1, "progress")
        self._send(self._create)

    def at(self, step: Step) -> None:
        """The step begins."""
        per_cent = 100.0 * self.steps.index(step) / len(self.steps)
        self._send(self._show, per_cent, f"{self.description}: {step}")

    def done(self) -> None:
        """All is over."""
        self._send(self._show, 100.0, self.description)
        self.sender.shutdown()

    def _send(self, tell: Callable[..., None], *given: object) -> None:
        self.sender.submit(copy_context().run, tell, *given)  # Prefect finds the flow run in the context

    def _create(self) -> None:
        with told():
            self.artifact = cast("UUID", create_progress_artifact(0.0, description=self.description))

    def _show(self, per_cent: float, description: str) -> None:
        if self.artifact is None:
            return
        with told():
            update_progress_artifact(self.artifact, round(per_cent, 1), description)


@contextmanager
def told() -> Iterator[None]:
    """What is only shown never fails a release: the server may be away, another environment unreadable."""
    try:
        yield
    # Whatever it is (a full disk, Prefect's own): the release is live, and "Failed" would be untrue.
    except Exception as error:  # noqa: BLE001
        get_run_logger().warning("this is not shown in Prefect: %s: %s", type(error).__name__, error)


def show_tests(service: str, report: TestReport) -> None:
    """The JUnit report as a table, failures first."""
    rows = [
        {
            "result": "failed" if case.message else "passed",
            "test": case.name,
            "seconds": round(case.seconds, 3),
            "message": case.message,
        }
        for case in sorted(report.cases, key=lambda case: not case.message)
    ]
    with told():
        create_table_artifact(rows, key=f"tests-{service}", description=f"{len(rows)} tests of {service}")


def publish(deployed: Deployed, before: Entry | None, source: str) -> None:
    """The release page, and a link to the service; a service that is new here is offered in the forms."""
    release = deployed.release
    key = f"{release.service}-{release.environment}"
    with told():
        create_markdown_artifact(page(deployed, before, source), key=f"release-{key}")
        create_link_artifact(
            deployed.url, key=f"service-{key}", link_text=f"{release.service} at {deployed.url}"
        )
        if before is None:
            pick_lists.offer()


def page(deployed: Deployed, before: Entry | None, source: str) -> str:
    """The release page as markdown: what it is, what changed, how long it took, how fast it answers."""
    release, old = deployed.release, before.release if before else None
    commits = commits_between(source, old.revision, release.revision) if old else []
    steps = [f"| {step} | {seconds:.2f} |" for step, seconds in deployed.seconds.items()]
    parts = [
        f"# {release.service} release {release.number} is live in {release.environment}",
        f"{deployed.url}",
        _comparison(release, old),
        *(["## Commits since", "\n".join(f"- {commit}" for commit in commits)] if commits else []),
        "## Smoke checks",
        "\n".join(["| check | requests | p95 |", "|---|---|---|", *map(_check_row, deployed.checks)]),
        f"![latencies]({latency_plot(deployed.checks)})" if deployed.checks else "",
        "## Steps",
        "\n".join(["| step | seconds |", "|---|---|", *steps]),
        f"Back to what was live before: `model-deploy rollback {release.service} -e {release.environment}`",
    ]
    return "\n\n".join(part for part in parts if part)


def _comparison(release: Release, old: Release | None) -> str:
    rows = [
        ("version", old and old.version, release.version),
        ("digest", old and f"`{old.digest[:19]}`", f"`{release.digest[:19]}`"),
        ("model", old and _model(old), _model(release)),
        *([("brings back", None, f"release {release.restores}")] if release.restores else []),
    ]
    head = [f"| | release {old.number if old else '—'} | release {release.number} |", "|---|---|---|"]
    return "\n".join([*head, *(f"| {name} | {was or '—'} | {now} |" for name, was, now in rows)])


def _model(release: Release) -> str:
    if release.model is None:
        return "—"
    return f"{release.model} `{release.model_sha256[:12]}`" if release.model_sha256 else str(release.model)


def _check_row(check: CheckResult) -> str:
    return f"| {check.title} | {len(check.latencies)} | {p95(list(check.latencies)) * 1000:.0f} ms |"
