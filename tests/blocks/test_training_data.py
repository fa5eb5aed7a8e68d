"""Inputs are compared with what was published with the live model."""

import csv
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet, table

from blocks.model_folder import sources_in
from blocks.model_store import ModelStore
from blocks.service_facts import Drift, gather
from blocks.store import DirectoryStore
from blocks.training_data import training_features, with_training
from releases.drift import TRAINING_FEATURES, verdict
from releases.ledger import Ledger
from releases.problem import BadInput
from releases.release import Outcome, Verdict
from releases.source_file import parse_sources
from releases.spec import Model
from tests.killed_work import Silent
from tests.releases.test_swap import release

NOW = datetime.now(UTC)
SOURCES = parse_sources("sources: {seen: {log: {service: iris}}}")


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(path=tmp_path / "store")


def normal(mean: float) -> list[float]:
    dice = random.Random(mean)
    return [dice.gauss(mean, 1) for _ in range(500)]


def training(tmp_path: Path, mean: float, kind: str = "csv") -> Path:
    file = tmp_path / f"training-{mean}.{kind}"
    columns: dict[str, Any] = {"Petal length (cm)": normal(mean), "species": ["setosa"] * 500}
    if kind == "parquet":
        parquet.write_table(table(columns), file)
    else:
        with file.open("w", newline="") as opened:
            rows = csv.writer(opened)
            rows.writerow(columns)
            rows.writerows(zip(*columns.values(), strict=True))
    return file


def live(store: DirectoryStore, tmp_path: Path, version: str, rows: Path | None) -> None:
    """Publish a version and have it released."""
    folder = tmp_path / version
    folder.mkdir()
    (folder / "weights").write_text(version)
    models, wanted = ModelStore(store), Model(name="iris", version=version)
    if rows is None:
        models.publish(wanted, sources_in(folder), Silent())
    else:
        with with_training(sources_in(folder), rows) as sources:
            models.publish(wanted, sources, Silent())
    ledger, model = Ledger(store, "iris", "local"), models.released(wanted)
    made = ledger.claim(lambda number: release(number).model_copy(update={"model": model}))
    ledger.settle(Outcome(number=made.number, verdict=Verdict.confirmed, at=NOW - timedelta(hours=1)))


def collected(store: DirectoryStore, tmp_path: Path, source: str, columns: dict[str, Any]) -> None:
    parquet.write_table(table(columns), tmp_path / "rows")
    store.upload(f"data/{source}/date={NOW:%Y-%m-%d}/rows.parquet", tmp_path / "rows")


def drift(store: DirectoryStore) -> list[Drift]:
    return gather(store, "iris", "local", NOW - timedelta(days=7), NOW + timedelta(days=1), SOURCES).drift


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_each_version_is_compared_with_its_own_training_and_its_own_inputs(
    store: DirectoryStore, tmp_path: Path, kind: str
) -> None:
    inputs = [*normal(0), *normal(5)]
    versions = ["v1"] * 500 + ["v2"] * 500
    column = "inputs__petal_length_cmx"  # what dlt makes of it when it collects
    collected(store, tmp_path, "seen", {column: inputs, "model_version": versions})
    live(store, tmp_path, "v1", training(tmp_path, 0.1, kind))
    (first,) = drift(store)
    live(store, tmp_path, "v2", training(tmp_path, 2, kind))
    (second,) = drift(store)
    assert (first.feature, first.values, verdict(first.index or 9)) == ("Petal length (cm)", 500, "stable")
    assert (second.values, verdict(second.index or 0)) == (500, "shifted")


def test_without_the_source_of_training_rows_counts_as_before(store: DirectoryStore, tmp_path: Path) -> None:
    live(store, tmp_path, "v1", None)
    collected(store, tmp_path, "seen", {"inputs__x": normal(5), "model_version": ["v7"] * 500})
    assert drift(store) == []
    collected(store, tmp_path, "iris-training", {"x": normal(0)})
    (found,) = drift(store)
    assert (found.values, verdict(found.index or 0)) == (500, "shifted")


@pytest.mark.parametrize(
    ("name", "text"), [("a.csv", "species\nsetosa\n"), ("a.parquet", "x"), ("gone.csv", None)]
)
def test_training_data_that_cannot_be_used_is_named(tmp_path: Path, name: str, text: str | None) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(BadInput) as caught:
        training_features(tmp_path / name)
    assert caught.value.where == str(tmp_path / name)


def test_a_model_that_has_such_a_file_is_published_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / TRAINING_FEATURES).write_text("{}")
    with (
        pytest.raises(BadInput, match="already"),
        with_training(sources_in(tmp_path / "model"), training(tmp_path, 0)),
    ):
        pass
