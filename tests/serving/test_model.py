import json
import shutil
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from serving.app import create_app
from serving.model import LABELS_FILE, Model
from serving.settings import BAKED_MODEL, Settings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(BAKED_MODEL, tmp_path / "model"))


def test_model_dir_overrides_the_baked_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / LABELS_FILE).write_text(json.dumps(["a", "b", "c"]))
    monkeypatch.setenv("MODEL_DIR", str(folder))
    monkeypatch.setenv("MODEL_VERSION", "v2.1")
    settings = Settings()
    assert settings.model_version == "v2.1"
    assert Model(settings.model_dir).labels == ["a", "b", "c"]


def test_empty_variables_count_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_DIR", "")
    monkeypatch.setenv("RELEASE", "")
    assert Settings().model_dir == BAKED_MODEL
    assert Settings().release == "none"


@pytest.mark.parametrize("labels", [["a", "b"], ["a", "a", "b"], ["a", "b", "c", "d"], ["a", "b", "c", "c"]])
def test_labels_that_do_not_fit_the_graph(folder: Path, labels: list[str]) -> None:
    (folder / LABELS_FILE).write_text(json.dumps(labels))
    with pytest.raises(ValueError, match=LABELS_FILE):
        Model(folder)


def test_a_model_that_cannot_be_loaded_ends_the_start(tmp_path: Path) -> None:
    app = create_app(Settings(model_dir=tmp_path))
    with pytest.raises(Exception, match=r"model\.onnx"), TestClient(app):
        pass


def test_committed_metrics_are_good() -> None:
    metrics = json.loads((BAKED_MODEL / "metrics.json").read_text())
    assert metrics["accuracy"] > 0.9
