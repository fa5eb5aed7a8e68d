"""Rows are taken in exactly once, whatever happens in between."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyarrow import dataset

from blocks.collection import Collection
from blocks.store import DirectoryStore
from releases.collection import check_backfill, days
from releases.problem import Failed, Problem, Refused, Superseded, Unreachable
from tests.flaky_store import FlakyStore
from tests.killed_work import BATCH, collect, collect_in, gathered, take_in_next, take_in_next_in
from tests.killing import Killer
from tests.shop.server import Shop, shop

KILLS = 50
WHOLE_RUNS = 8
SOURCES = """
sources:
  orders:
    rest: {url: "%s/orders", pages: {type: json_link}, rows: data, since: since, until: until}
    cursor: {column: at, initial: 2026-11-01}
    contract: {columns: {id: bigint, at: timestamp, total: double}, at_most: 0.5}
"""


@pytest.fixture
def api() -> Iterator[Shop]:
    with shop() as made:
        yield made


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(path=tmp_path / "store")


def rows(store: DirectoryStore, name: str = "orders") -> list[dict[str, Any]]:
    """What a table reader sees."""
    folder = store.path / "data" / name
    if not folder.exists():
        return []
    return dataset.dataset(folder, format="parquet", partitioning="hive").to_table().to_pylist()


def ids(store: DirectoryStore) -> list[int]:
    return sorted(row["id"] for row in rows(store))


def quarantine(store: DirectoryStore) -> list[dict[str, Any]]:
    files = (store.path / "quarantine").rglob("*.jsonl")
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def test_killed_at_random_points_every_row_is_there_once(store: DirectoryStore, api: Shop) -> None:
    killer, sold = Killer(), 0
    for _ in range(WHOLE_RUNS):
        api.sell(sold, sold + 150)
        api.orders[sold + 149]["total"] = "much"  # the newest row breaks the contract
        sold += 150
        killer.run(collect_in, store.path, SOURCES % api.address)
    assert killer.killed > WHOLE_RUNS / 3
    collect(store, SOURCES % api.address)
    bad = [number for number in range(sold) if number % 150 == 149]
    assert ids(store) == [number for number in range(sold) if number not in bad]
    assert sorted(one["row"]["id"] for one in quarantine(store)) == bad
    assert not list(store.list("collect/pending/"))


def test_killed_while_it_takes_rows_in_every_row_is_there_once(store: DirectoryStore) -> None:
    """Most kills of a whole run hit it before that, where nothing is in the store yet."""
    killer = Killer()
    while killer.killed < KILLS and killer.runs < 2 * KILLS:
        killer.run(take_in_next_in, store.path)
    assert killer.killed == KILLS
    batches = take_in_next(store, store.path.parent) + 1
    assert ids(store) == [*range(batches * BATCH)]
    assert not list(store.list("collect/pending/"))


@pytest.mark.parametrize("seed", range(10))
def test_a_store_that_fails_gets_every_row_once(store: DirectoryStore, tmp_path: Path, seed: int) -> None:
    flaky = FlakyStore(store, seed)
    for _ in range(500):
        try:
            collection = Collection.begin(flaky, "orders")
            batch = int(collection.checkpoint().state.get("cursor", "0"))
            if batch == 10:
                break
            collection.take_in(gathered(tmp_path, batch), replacing=False)
        except Unreachable:
            continue
    assert ids(store) == [*range(200)]
    assert Collection.begin(store, "orders").checkpoint().rows == {"2026-11-01": 200}


def test_a_run_that_was_replaced_takes_nothing_in(store: DirectoryStore, tmp_path: Path) -> None:
    slow = Collection.begin(store, "orders")
    Collection.begin(store, "orders").take_in(gathered(tmp_path, 0), replacing=False)
    with pytest.raises(Superseded):
        slow.take_in(gathered(tmp_path, 1), replacing=False)
    assert ids(store) == [*range(20)]


def test_rows_are_filed_by_the_date_of_their_cursor(store: DirectoryStore, api: Shop) -> None:
    api.sell(0, 300)
    collect(store, SOURCES % api.address)
    assert {str(row["date"]) for row in rows(store)} == {"2026-11-01", "2026-11-02", "2026-11-03"}
    assert all(f"{row['at']:%Y-%m-%d}" == str(row["date"]) for row in rows(store))


def test_a_second_run_asks_only_for_what_is_new(store: DirectoryStore, api: Shop) -> None:
    api.sell(0, 150)
    collect(store, SOURCES % api.address)
    api.requests.clear()
    api.sell(150, 160)
    collect(store, SOURCES % api.address)
    assert ids(store) == [*range(160)]
    assert ["since=2026-11-02T00%3A50" in path for path in api.requests] == [True]


def test_a_filled_up_day_stands_once_however_often_it_is_taken(store: DirectoryStore, api: Shop) -> None:
    api.sell(0, 1000)
    collect(store, SOURCES % api.address)
    api.orders[200]["total"] = 7.25  # corrected at the source
    api.orders.append({**api.orders[201], "id": 5000})  # came late
    for _ in range(2):
        collect(store, SOURCES % api.address, day=date(2026, 11, 2))
    assert ids(store) == [*range(1000), 5000]
    assert [row["total"] for row in rows(store) if row["id"] == 200] == [7.25]
    api.sell(1000, 1010)
    collect(store, SOURCES % api.address)
    assert ids(store) == [*range(1010), 5000]
    assert sum(Collection.begin(store, "orders").checkpoint().rows.values()) == 1011


def test_a_day_that_the_source_has_nothing_of_any_more_is_kept(store: DirectoryStore, api: Shop) -> None:
    api.sell(0, 1000)
    collect(store, SOURCES % api.address)
    api.orders = [order for order in api.orders if not order["at"].startswith("2026-11-02")]
    assert len(api.orders) < 1000
    collect(store, SOURCES % api.address, day=date(2026, 11, 2))
    assert ids(store) == [*range(1000)]
    assert sum(Collection.begin(store, "orders").checkpoint().rows.values()) == 1000


def test_days_that_the_schedule_collects_are_not_filled_up() -> None:
    for first, last, position in [(5, 7, "2026-11-07T03:00:00"), (5, 4, "2026-11-09"), (5, 6, "")]:
        with pytest.raises(Refused):
            check_backfill(date(2026, 11, first), date(2026, 11, last), position)
    check_backfill(date(2026, 10, 30), date(2026, 11, 6), "2026-11-07T00:00:00+00:00")
    assert len(days(date(2026, 10, 30), date(2026, 11, 2))) == 4


def test_a_row_that_breaks_the_contract_is_kept_with_the_reason(store: DirectoryStore, api: Shop) -> None:
    api.sell(0, 10)
    del api.orders[3]["id"]
    api.orders[9]["total"] = "much"
    for _ in range(3):  # the last row is at the cursor: the source gives it again
        collect(store, SOURCES % api.address)
    assert ids(store) == [0, 1, 2, 4, 5, 6, 7, 8]
    reasons = {json.dumps(one["row"]["items"]): one["reason"] for one in quarantine(store)}
    assert len(quarantine(store)) == 2
    assert {one["reason"].split(":")[0] for one in quarantine(store)} == {"id", "total"}
    assert reasons


def test_an_api_that_asks_for_patience_gets_it(store: DirectoryStore, api: Shop) -> None:
    api.sell(0, 150)
    api.trouble.extend([(429, {"Retry-After": "1"}), (503, {}), (200, {})][:1])
    started = time.monotonic()
    collect(store, SOURCES % api.address)
    assert time.monotonic() - started >= 1
    assert ids(store) == [*range(150)]


def test_an_api_that_refuses_is_named_and_nothing_is_taken_in(store: DirectoryStore, api: Shop) -> None:
    api.token = "secret"
    with pytest.raises(Failed, match="orders cannot be collected") as raised:
        collect(store, SOURCES % api.address)
    assert "401" in raised.value.got
    assert rows(store) == []
    assert isinstance(raised.value, Problem)


def test_no_order_of_runs_gives_a_row_twice(store: DirectoryStore, api: Shop) -> None:
    """Rows of the same moment that come one after the other."""
    for number in range(3):
        api.orders.append({"id": number, "at": "2026-11-01T00:00:00+00:00", "total": 1})
        collect(store, SOURCES % api.address)
    assert Counter(ids(store)) == Counter({0: 1, 1: 1, 2: 1})
