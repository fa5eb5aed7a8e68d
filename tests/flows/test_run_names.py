"""What Prefect calls a run: everybody sees it, whatever became of the run."""

from collections.abc import Callable

import pytest
from prefect.client.orchestration import get_client

from flows.check import check
from flows.release import release
from releases.problem import Problem

pytestmark = pytest.mark.usefixtures("server")
SOURCE = "https://me:p@ss@example.com/a.git"


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (
            lambda: release(source=SOURCE, environment="nowhere"),
            "release https://***@example.com/a.git at HEAD to nowhere",
        ),
        (
            lambda: check(source=SOURCE, ref="main", pull_request=7, environment="nowhere"),
            "check pull request 7 of https://***@example.com/a.git",
        ),
    ],
    ids=["release", "check"],
)
def test_a_password_in_the_sources_url_is_not_in_the_runs_name(
    start: Callable[[], object], name: str
) -> None:
    with pytest.raises(Problem):
        start()
    with get_client(sync_client=True) as client:
        names = [run.name for run in client.read_flow_runs()]
    assert name in names
    assert not [one for one in names if "p@ss" in one]
