"""Every week: how releasing goes and how the services do, as one page and a digest for chat."""

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

from prefect import flow, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from pydantic import BaseModel, Field

from blocks.environment import environment_names, load_environment
from blocks.notifications import tell
from blocks.pick_lists import EnvironmentOrAll, ServiceOrAll
from blocks.service_facts import ServiceFacts, gather
from flows.collect import SOURCES
from flows.pages import told
from flows.report_page import digest, page, preview
from releases.data_source import Source
from releases.ledger import services_in
from releases.problem import Failed, Problem
from releases.source_file import read_sources
from releases.store import Store

REPORTS = "reports/"
DAYS = 7


class Report(BaseModel):
    """Where the page is, and what it says in short."""

    key: str
    url: str
    digest: str


@flow(name="report", flow_run_name="report {environment}")
def report(
    environment: EnvironmentOrAll = "",
    service: ServiceOrAll = "",
    days: Annotated[int, Field(ge=1)] = DAYS,
    file: Path = SOURCES,
) -> list[Report]:
    """Gather, draw, store, show.

    Args:
        environment: Whose services; a page for each environment if empty.
        service: Only this service; all of them if empty.
        days: How many days back.
        file: Where the data sources are declared.

    """
    sources = read_sources(file)
    names = [environment] if environment else environment_names()
    made: list[Report] = []
    problems: list[Problem] = []
    for name in names:
        try:
            made.append(report_of(name, service, days, sources))
        except Problem as problem:  # the other environments are not held up
            get_run_logger().error("%s: %s", name, problem)
            problems.append(problem)
    if problems:
        raise Failed(
            f"{len(problems)} of {len(names)} environments have no report",
            got="\n".join(str(one) for one in problems),
        )
    return made


def report_of(environment: str, service: str, days: int, sources: dict[str, Source]) -> Report:
    """One environment's page and digest."""
    where = load_environment(environment)
    store = where.store
    end = datetime.now(UTC)
    start = end - timedelta(days=days)
    wanted = [service] if service else sorted(services_in(store, environment))
    facts = [gather_facts(store, one, environment, start, end, sources) for one in wanted]
    key = f"{REPORTS}environment={environment}/{end:%Y-%m-%dT%H%M%S}.html"
    store_text(store, key, page(facts, environment, start, end))
    text = digest(facts, environment, start, end)
    store_text(store, key.removesuffix("html") + "md", text)
    made = Report(key=key, url=store.address(key), digest=text)
    show(made, facts, environment)
    tell(where.rules.notify, f"Report of {environment}", f"{text}\n\n{made.url}")
    return made


@task(task_run_name="gather {service}", cache_policy=NO_CACHE)
def gather_facts(
    store: Store, service: str, environment: str, start: datetime, end: datetime, sources: dict[str, Source]
) -> ServiceFacts:
    """Ledger, logs, data."""
    return gather(store, service, environment, start, end, sources)


def store_text(store: Store, key: str, text: str) -> None:
    """Create-only: a report never changes."""
    with tempfile.TemporaryDirectory(prefix="model-deploy-report-") as scratch:
        file = Path(scratch) / "report"
        file.write_text(text, encoding="utf-8")
        store.upload(key, file)


def show(made: Report, facts: list[ServiceFacts], environment: str) -> None:
    """For the UI: the page's address, and its content in short."""
    get_run_logger().info("%s", made.url)
    with told():
        create_link_artifact(made.url, key=f"report-page-{environment}", link_text=made.key)
        text = f"{preview(made.digest, facts)}\n\nThe whole page: `{made.url}`"  # browsers follow no file://
        create_markdown_artifact(text, key=f"report-{environment}")
