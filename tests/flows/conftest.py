"""One Prefect server for all flows that are run in this process; a cloud and a store for each test that wants one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from blocks.cloud_logging import CloudLogging
from blocks.store import DirectoryStore
from deployments import stack
from deployments.machine.home import Home
from sandbox.world import Settings
from tests.prefect_database import have_database
from tests.sandbox.conftest import Cloud, start


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    tell_all()  # what was begun for another server would go on telling that one
    home = Home(tmp_path_factory.mktemp("prefect") / "home")
    have_database(home)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PREFECT_API_URL", raising=False)
        try:
            stack.ensure_server(home)
            patch.setenv("PREFECT_API_URL", stack.api_url(home))
            without_heartbeats = {PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}  # a second a run
            with temporary_settings({PREFECT_API_URL: stack.api_url(home), **without_heartbeats}):
                yield
        finally:
            tell_all()
            stack.stop(home)


def tell_all() -> None:
    """Have what Prefect sends beside the flows sent, before its server goes."""
    APILogWorker.drain_all()
    EventsWorker.drain_all()


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    yield from start(Settings())


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(path=tmp_path / "store")


@pytest.fixture
def token_file(cloud: Cloud, tmp_path: Path) -> Path:
    """The sandbox's owner's."""
    file = tmp_path / "token"
    file.write_text(cloud.at.token)
    return file


@pytest.fixture
def logs(cloud: Cloud, token_file: Path) -> CloudLogging:
    """The sandbox's."""
    return CloudLogging(project=cloud.project, endpoint=cloud.at.api, access_token_file=token_file)
