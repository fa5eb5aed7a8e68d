"""One Prefect server for all flows that are run in this process, and a cloud for each test that wants one."""

from collections.abc import Iterator

import pytest
from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.testing.utilities import prefect_test_harness

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
