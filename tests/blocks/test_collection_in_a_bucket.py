"""Rows collected into Cloud Storage, whose answers get lost meanwhile: each once."""

import io
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from pyarrow import parquet

from blocks.cloud_storage import CloudStorage
from releases.problem import Unreachable
from sandbox.server import running
from sandbox.world import World
from tests.blocks.buckets import cloud_store
from tests.blocks.test_collection import SOURCES
from tests.flaky_store import FlakyStore
from tests.killed_work import collect
from tests.sandbox.conftest import Cloud
from tests.shop.server import Shop, shop


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    world = World()
    with running(world) as at:
        yield Cloud(world, at)


@pytest.fixture
def bucket(cloud: Cloud, tmp_path: Path) -> CloudStorage:
    return cloud_store(cloud, tmp_path)


@pytest.fixture
def api() -> Iterator[Shop]:
    with shop() as made:
        yield made


def ids(bucket: CloudStorage) -> list[int]:
    """What a table reader sees, date by date as the folders say."""
    found = []
    for key in bucket.list("data/orders/"):
        table = parquet.read_table(io.BytesIO(bucket.read(key)[0]))
        day = key.removeprefix("data/orders/date=").partition("/")[0]
        assert {f"{at:%Y-%m-%d}" for at in table.column("at").to_pylist()} == {day}
        found += table.column("id").to_pylist()
    return sorted(found)


def test_rows_in_a_bucket_are_there_once_and_only_new_ones_are_asked_for(
    cloud: Cloud, bucket: CloudStorage, api: Shop
) -> None:
    api.sell(0, 300)
    for kind in ("lost_response", "unavailable", "rate_limit"):
        cloud.fault(kind, method="*", path="/upload/*")
        cloud.fault(kind, method="*", path="/storage/v1/*")
    collect(bucket, SOURCES % api.address)
    assert ids(bucket) == [*range(300)]
    api.requests.clear()
    api.sell(300, 310)
    api.orders[305]["total"] = "much"
    collect(bucket, SOURCES % api.address)
    assert ids(bucket) == [number for number in range(310) if number != 305]
    assert all("since=" in path for path in api.requests)
    assert len(list(bucket.list("quarantine/orders/"))) == 1
    assert not list(bucket.list("collect/pending/"))


def test_a_day_is_filled_up_in_a_bucket(bucket: CloudStorage, api: Shop) -> None:
    api.sell(0, 450)
    collect(bucket, SOURCES % api.address)
    api.orders.append({**api.orders[201], "id": 5000})  # came late
    for _ in range(2):
        collect(bucket, SOURCES % api.address, day=date(2026, 11, 2))
    assert ids(bucket) == [*range(450), 5000]


def test_a_run_that_dies_at_any_call_of_the_bucket_is_made_up_for(bucket: CloudStorage, api: Shop) -> None:
    api.sell(0, 150)
    flaky, died = FlakyStore(bucket, seed=4, share=0.1), 0
    for _ in range(60):
        try:
            collect(flaky, SOURCES % api.address)
        except Unreachable:
            died += 1
            continue
        break
    assert died
    assert ids(bucket) == [*range(150)]
