"""What GitHub Actions shows below the job."""

from pathlib import Path

import pytest

from deployments.job_summary import job_summary
from flows.result import ReleaseResult
from releases.approval import Rejected
from releases.freeze import Frozen
from releases.problem import Failed, NothingToDo, Problem, Superseded

RESULT = ReleaseResult(
    service="iris",
    environment="production",
    number=3,
    version="v1.2.0",
    image="registry/iris@sha256:" + "a" * 64,
    url="https://iris.acme.com",
    reused=True,
    seconds={"push": 1.5},
)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "summary.md"
    path.write_text("what the step before wrote\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    return path


def test_a_release_is_added_to_the_jobs_summary(file: Path) -> None:
    with job_summary() as summary:
        summary.released(RESULT)
    text = file.read_text()
    assert text.startswith("what the step before wrote\n")
    assert "## iris release 3 (v1.2.0) is live in production" in text
    assert "https://iris.acme.com" in text
    assert "| push | 1.50 |" in text


def test_a_failure_says_why(file: Path) -> None:
    with pytest.raises(Failed), job_summary():
        raise Failed("1 of 2 tests failed", where="test_model::test_accuracy")
    assert "1 of 2 tests failed\n  where: test_model::test_accuracy" in file.read_text()


@pytest.mark.parametrize(
    ("problem", "title"),
    [
        (Failed("1 of 2 tests failed"), "The release has failed"),
        (NothingToDo("this commit is live"), "There was nothing to release"),
        (Superseded("a newer push"), "The release has given way to a newer one"),
        (Rejected("Ann has rejected it"), "The release was refused"),
        (Frozen("no releases on Fridays"), "The release was refused"),
    ],
)
def test_only_what_was_tried_has_failed(file: Path, problem: Problem, title: str) -> None:
    with pytest.raises(type(problem)), job_summary():
        raise problem
    assert f"## {title}\n" in file.read_text()


def test_elsewhere_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.chdir(tmp_path)
    with job_summary() as summary:
        summary.released(RESULT)
    assert not list(tmp_path.iterdir())
