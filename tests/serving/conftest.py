from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from serving.app import create_app
from serving.settings import Settings

SETTINGS = Settings(
    model_name="iris",
    model_version="v9",
    model_sha256="f00d",
    revision="abc123",
    release="7",
    environment="staging",
)


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(create_app(SETTINGS)) as client:
        yield client
