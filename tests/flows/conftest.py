"""One Prefect server for all flows that are run in this process; a cloud and a store for each test that wants one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.testing.utilities import prefect_test_harness

from blocks.cloud_logging import CloudLogging
from blocks.store import DirectoryStore
from sandbox.world import Settings
from tests.sandbox.conftest import Cloud, start


@pytest.fixture(scope="package")
def server() -> Iterator[None]:
    EventsWorker.drain_all()  # one that was begun for another server would go on telling that one
    without_heartbeats = temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None})  # a second a run
    with prefect_test_harness(server_startup_timeout=240), without_heartbeats:
        yield


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
