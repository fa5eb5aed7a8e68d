"""`release: auto`: the next version once, whatever GitHub does meanwhile."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr

from blocks.github import GitHub
from flows import tagging
from releases.trigger import Watched
from tests.blocks.test_remote import Repository
from tests.github.server import TOKEN, FakeGitHub, Trouble, running


class Tagged:
    """A service's repository, on a GitHub that writes its tags into it."""

    def __init__(self, fake: FakeGitHub, folder: Path) -> None:
        self.github, self.repository = fake, Repository(folder)
        fake.on_tag = lambda tag, commit: self.repository.git("tag", tag, commit)
        watched = Watched(name="iris", repository="acme/models", source=str(folder))
        self.serves("", watched)

    def serves(self, tags: str, *services: Watched) -> None:
        self.where: Any = SimpleNamespace(
            release="auto",
            tags=tags,
            services=services,
            watched=lambda name: next(one for one in services if one.name == name),
        )

    def commit(self, message: str, file: str = "") -> str:
        if file:
            self.repository.commit(file)
            self.repository.git("commit", "--quiet", "--amend", "-m", message)
        else:
            self.repository.git("commit", "--quiet", "--allow-empty", "-m", message)
        commit = self.repository.git("rev-parse", "HEAD")
        self.github.history.append((commit, message))
        return commit

    def live(self, commit: str, **changes: Any) -> None:
        release = {"service": "iris", "revision": commit, "dirty": False, "restores": None, **changes}
        tagging.tag_version(self.where, SimpleNamespace(**release))  # type: ignore[arg-type]

    @property
    def tags(self) -> list[str]:
        return [release["tag_name"] for release in self.github.releases]


@pytest.fixture
def tagged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tagged]:
    import logging

    with running() as fake:
        block = GitHub(token=SecretStr(TOKEN), api=fake.address, patience=10)
        monkeypatch.setattr(tagging, "connected_github", lambda: block)
        monkeypatch.setattr(tagging, "get_run_logger", lambda: logging.getLogger("tests"))
        yield Tagged(fake, tmp_path / "models")


def test_what_is_live_gets_the_next_version_with_notes_and_only_once(tagged: Tagged) -> None:
    first = tagged.commit("begin")
    tagged.live(first)
    tagged.commit("fix: a typo")
    second = tagged.commit("feat(api): probabilities\n\nlong")
    for _ in range(2):
        tagged.live(second)
    assert tagged.tags == ["v0.1.0", "v0.2.0"]
    release = tagged.github.releases[1]
    assert release["target_commitish"] == second
    assert f"- {second[:8]} feat(api): probabilities" in release["body"].splitlines()
    assert "fix: a typo" in release["body"]
    assert "begin" not in release["body"]
    tagged.live(first)  # brought back: it has its version
    assert len(tagged.tags) == 2


def test_services_of_one_repository_have_versions_of_their_own(tagged: Tagged) -> None:
    source = str(tagged.repository.path)
    iris, rose = (
        Watched(name=name, repository="acme/models", source=source, path=name) for name in ("iris", "rose")
    )
    tagged.serves("", iris, rose)
    first = tagged.commit("begin", "iris/a")
    tagged.live(first)
    tagged.live(first, service="rose")
    tagged.commit("feat: of the rose", "rose/b")
    last = tagged.commit("fix: ä in iris", "iris/c")
    tagged.live(last)
    tagged.live(last, service="rose")
    assert tagged.tags == ["iris-v0.1.0", "rose-v0.1.0", "iris-v0.1.1", "rose-v0.2.0"]
    assert "of the rose" not in tagged.github.releases[2]["body"]
    assert "in iris" not in tagged.github.releases[3]["body"]


@pytest.mark.parametrize(
    ("asked", "tag"), [("v*", "v0.1.0"), ("*/v*", "iris/v0.1.0"), ("api-v*", "api-v0.1.0")]
)
def test_tags_are_called_as_the_environment_asks_for_them(tagged: Tagged, asked: str, tag: str) -> None:
    tagged.repository.git("commit", "--quiet", "--allow-empty", "-m", "other")
    tagged.repository.git("tag", "other-v7")
    tagged.serves(asked, *tagged.where.services)
    tagged.live(tagged.commit("begin"))
    assert tagged.tags == [tag]


@pytest.mark.parametrize("trouble", [Trouble(0), Trouble(500), Trouble(403), Trouble(422)])
def test_a_github_that_is_down_or_refuses_is_warned_of_and_asked_again_later(
    tagged: Tagged, trouble: Trouble, caplog: pytest.LogCaptureFixture
) -> None:
    tagged.live(tagged.commit("begin"))
    commit = tagged.commit("more")
    tagged.github.always = trouble
    tagged.live(commit)
    assert "tagged yet" in caplog.text
    tagged.github.always = None
    tagged.live(commit)
    assert tagged.tags == ["v0.1.0", "v0.1.1"]


def test_a_version_that_a_person_has_tagged_stands(tagged: Tagged) -> None:
    commit = tagged.commit("begin")
    tagged.repository.git("tag", "-a", "v3.0.0", "-m", "by hand", commit)
    tagged.live(commit)
    assert not tagged.github.requests
    tagged.live(tagged.commit("fix: a"))
    assert tagged.tags == ["v3.0.1"]


@pytest.mark.parametrize("change", [{"dirty": True}, {"restores": 1}])
def test_a_rollback_and_a_dirty_tree_are_no_versions(tagged: Tagged, change: dict[str, Any]) -> None:
    tagged.live(tagged.commit("begin"), **change)
    assert not tagged.tags


def test_an_environment_that_does_not_ask_gets_none(tagged: Tagged) -> None:
    tagged.where.release = "by hand"
    tagged.live(tagged.commit("begin"))
    assert not tagged.tags


def test_a_repository_that_does_not_answer_is_warned_of(
    tagged: Tagged, caplog: pytest.LogCaptureFixture
) -> None:
    commit = tagged.commit("begin")
    subprocess.run(["rm", "-rf", str(tagged.repository.path)], check=True)
    tagged.live(commit)
    assert "no version is tagged yet" in caplog.text
