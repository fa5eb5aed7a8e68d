"""What a person sees of a release in the Prefect UI."""

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from blocks.checkout import commits_between
from blocks.image_builder import TestReport
from blocks.smoke import CheckResult
from flows.deploying import Deployed
from releases.ledger import Entry
from releases.smoke import p95


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
    create_table_artifact(rows, key=f"tests-{service}", description=f"{len(rows)} tests of {service}")


def publish(deployed: Deployed, before: Entry | None, source: str) -> None:
    """The release page, and a link to the service."""
    release = deployed.release
    key = f"{release.service}-{release.environment}"
    create_markdown_artifact(page(deployed, before, source), key=f"release-{key}")
    create_link_artifact(deployed.url, key=f"service-{key}", link_text=f"{release.service} at {deployed.url}")


def page(deployed: Deployed, before: Entry | None, source: str) -> str:
    """The release page as markdown: what it is, what changed, how long it took."""
    release, old = deployed.release, before.release if before else None
    model = f"{release.model.name} {release.model.version}" if release.model else "—"
    old_model = f"{old.model.name} {old.model.version}" if old and old.model else "—"
    commits = commits_between(source, old.revision, release.revision) if old else []
    rows = [
        ("version", old.version if old else "—", release.version),
        ("digest", f"`{old.digest[:19]}`" if old else "—", f"`{release.digest[:19]}`"),
        ("model", old_model if old else "—", model),
    ]
    return "\n".join(
        [
            f"# {release.service} release {release.number} is live in {release.environment}",
            f"\n{deployed.url}\n",
            f"| | release {old.number if old else '—'} | release {release.number} |\n|---|---|---|",
            *(f"| {name} | {was} | {now} |" for name, was, now in rows),
            "\n## Commits since\n" if commits else "",
            *(f"- {commit}" for commit in commits),
            "\n## Steps\n\n| step | seconds |\n|---|---|",
            *(f"| {step} | {seconds:.2f} |" for step, seconds in deployed.seconds.items()),
            "\n## Smoke checks\n\n| check | requests | p95 |\n|---|---|---|",
            *(_check_row(check) for check in deployed.checks),
        ]
    )


def _check_row(check: CheckResult) -> str:
    slowest = p95(list(check.latencies)) * 1000
    bar = "▇" * min(40, max(1, round(slowest / 5)))
    return f"| {check.title} | {len(check.latencies)} | {slowest:.0f} ms {bar} |"
