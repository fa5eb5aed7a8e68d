"""A checkout is tried again where the outside world was away for a moment, and only then."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prefect import flow

from blocks.checkout import Checkout
from flows import sources
from releases.problem import BadInput, Problem, Unreachable

pytestmark = pytest.mark.usefixtures("server")
WHERE: Any = SimpleNamespace(builder=SimpleNamespace(bases=lambda *_: {}))
AWAY = Unreachable("the repository does not answer")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Sources that can be read."""
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources/Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "sources/model-deploy.yaml").write_text("name: iris\n")
    return tmp_path


def checked_out(
    monkeypatch: pytest.MonkeyPatch, folder: Path, *ends: Problem
) -> tuple[int, sources.Sources | Problem]:
    """How often it was tried, and what came of it, where the first attempts end like that."""
    tried: list[Path] = []

    def check_out(source: str, ref: str, path: str, into: Path, also: str) -> Checkout:
        tried.append(into)
        if len(tried) <= len(ends):
            raise ends[len(tried) - 1]
        return Checkout(folder / "sources", folder, "c" * 40, source, dirty=False, tree="t" * 40)

    @flow
    def reads() -> sources.Sources:
        at_once = sources.read_sources.with_options(retry_delay_seconds=0)
        return at_once(WHERE, "git@example.com:acme/iris", "main", "", folder)

    monkeypatch.setattr(sources, "check_out", check_out)
    try:
        found: sources.Sources | Problem = reads()
    except Problem as problem:
        found = problem
    assert len(set(tried)) == len(tried), "an attempt found what the one before had left"
    return len(tried), found


@pytest.mark.parametrize("times", [1, 2])
def test_a_repository_that_was_away_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, folder: Path, times: int
) -> None:
    tried, found = checked_out(monkeypatch, folder, *[AWAY] * times)
    assert isinstance(found, sources.Sources)
    assert (tried, found.service) == (times + 1, "iris")


def test_one_that_stays_away_is_given_up(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    assert checked_out(monkeypatch, folder, *[AWAY] * 9) == (3, AWAY)


def test_a_mistake_is_not_made_twice(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    mistake = BadInput("there is no mian")
    assert checked_out(monkeypatch, folder, mistake) == (1, mistake)
