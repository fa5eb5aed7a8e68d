"""The flow itself, on a real Prefect server: backfill side by side, checks, quarantine, what the UI shows."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prefect.client.orchestration import get_client

from blocks.data_load import DataLoad
from blocks.store import DirectoryStore
from flows import collect as module
from releases.problem import Failed, Refused
from tests.blocks.test_collection import SOURCES, ids, quarantine, rows
from tests.shop.server import Shop, shop

pytestmark = pytest.mark.usefixtures("server")


@pytest.fixture
def api() -> Iterator[Shop]:
    with shop() as made:
        yield made


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DirectoryStore:
    made = DirectoryStore(path=tmp_path / "store")
    monkeypatch.setattr(module, "load_environment", lambda _: SimpleNamespace(store=made))
    return made


@pytest.fixture
def file(tmp_path: Path, api: Shop) -> Path:
    path = tmp_path / "sources.yaml"
    path.write_text(SOURCES % api.address)
    return path


def test_days_are_filled_up_side_by_side(store: DirectoryStore, api: Shop, file: Path) -> None:
    api.sell(0, 1000)
    file.write_text(file.read_text().replace("initial: 2026-11-01", "initial: 2026-11-06"))
    (done,) = module.collect_data(source="orders", file=file)
    assert done.rows == len(ids(store)) == 1000 - 5 * 144
    for _ in range(2):
        (filled,) = module.collect_data("orders", since=date(2026, 11, 1), to=date(2026, 11, 5), file=file)
        assert (filled.loads, filled.rows) == (5, 5 * 144)
        assert ids(store) == [*range(1000)]
    with pytest.raises(Refused, match="the scheduled run collects these days itself"):
        module.collect_data("orders", since=date(2026, 11, 1), to=date(2026, 11, 30), file=file)
    with get_client(sync_client=True) as client:
        artifacts = {one.key: one for one in client.read_latest_artifacts()}
        names = {run.name for run in client.read_task_runs()}
    assert {"2026-11-01", "2026-11-05"} <= names
    assert "![rows by date](data:image/png;base64," in str(artifacts["data-local-orders"].data)
    assert "2026" in str(artifacts["data-local-orders-runs"].data)


def test_a_source_that_is_being_collected_is_refused(
    store: DirectoryStore, api: Shop, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.sell(0, 3)
    monkeypatch.setattr("flows.turn.BUSY_SECONDS", 0.5)
    with (
        module.only_run("local", "orders"),
        pytest.raises(Refused, match="orders is being collected already"),
    ):
        module.collect_data("orders", file=file)
    module.collect_data("orders", file=file)
    assert ids(store) == [0, 1, 2]


def test_too_many_rows_in_quarantine_stop_the_run(store: DirectoryStore, api: Shop, file: Path) -> None:
    file.write_text(file.read_text().replace("at_most: 0.5", "at_most: 0.1"))
    api.sell(0, 20)
    for number in (4, 5, 6):
        api.orders[number]["total"] = "much"
    for _ in range(2):
        with pytest.raises(Failed, match=r"15.0% of the rows of orders break their contract") as raised:
            module.collect_data("orders", file=file)
        assert "total: Input should be a valid number" in raised.value.got
    assert rows(store) == []
    assert len(quarantine(store)) == 3, "the same rows again are the same file"
    for number in (5, 6):
        api.orders[number]["total"] = 1.0
    module.collect_data("orders", file=file)
    assert len(ids(store)) == 19


def test_what_nobody_thought_of_does_not_hold_up_the_other_sources(
    store: DirectoryStore, api: Shop, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.sell(0, 3)
    text = file.read_text()
    file.write_text(text + text.partition("sources:\n")[2].replace("  orders:", "  again:"))
    load = module.DataLoad.run

    def breaks(self: DataLoad, *given: Any) -> Any:
        if self.name == "orders":
            raise KeyError("nobody thought of this")
        return load(self, *given)

    monkeypatch.setattr(module.DataLoad, "run", breaks)
    with pytest.raises(Failed, match="orders cannot be collected") as raised:
        module.collect_data(file=file)
    assert "KeyError" in raised.value.got
    assert len(rows(store, "again")) == 3


def test_old_and_few_rows_fail_the_run_but_are_kept(store: DirectoryStore, api: Shop, file: Path) -> None:
    api.sell(0, 5)
    text = file.read_text()
    file.write_text(text + "    checks: {fresh_hours: 1}\n")
    with pytest.raises(Failed, match="orders has no new rows"):
        module.collect_data(file=file)
    file.write_text(text + "    checks: {rows: 1}\n")
    with pytest.raises(Failed, match="orders gave too few rows"):
        module.collect_data(file=file)
    assert ids(store) == [*range(5)]
