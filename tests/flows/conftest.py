"""One Prefect server for all flows that are run in this process."""

from collections.abc import Iterator

import pytest
from prefect.testing.utilities import prefect_test_harness


@pytest.fixture(scope="package")
def server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=240):
        yield
