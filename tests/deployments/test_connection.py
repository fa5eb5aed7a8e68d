"""Which service a command means that names none."""

from pathlib import Path

import pytest

from deployments.connection import service_here
from releases.problem import BadInput


@pytest.mark.parametrize("spec", [None, "test: {target: test}\n"])
def test_a_service_without_a_name_is_called_as_its_folder_as_in_a_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str | None
) -> None:
    folder = tmp_path / "Iris_API"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM scratch")
    if spec:
        (folder / "model-deploy.yaml").write_text(spec)
    monkeypatch.chdir(folder)
    assert service_here("") == "iris-api"
    assert service_here("other") == "other"


def test_a_folder_that_describes_no_service_is_not_taken_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match="which service"):
        service_here("")
