"""A repository asked from afar."""

import subprocess
from pathlib import Path

import pytest

from blocks.remote import changed_files, commits_between, read_refs
from releases.problem import Unreachable


class Repository:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.git("init", "--quiet", "--initial-branch=main", str(path), at=path.parent)

    def git(self, *words: str, at: Path | None = None) -> str:
        who = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
        argv = ["git", "-C", str(at or self.path), *who, *words]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, file: str) -> str:
        path = self.path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file + (path.read_text() if path.exists() else ""))
        self.git("add", "-A")
        self.git("commit", "--quiet", "-m", file)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "origin")


def test_branches_and_tags_with_their_commits(repository: Repository) -> None:
    first, second = repository.commit("a"), repository.commit("b")
    repository.git("branch", "feature/x", first)
    repository.git("tag", "v1", first)
    repository.git("tag", "-a", "v2", "-m", "annotated", second)
    refs = read_refs(str(repository.path))
    assert refs.branches == {"main": second, "feature/x": first}
    assert refs.tags == {"v1": first, "v2": second}


def test_what_differs_between_two_commits_in_either_direction(repository: Repository) -> None:
    first, _, third = repository.commit("iris/ä b"), repository.commit("rose/b"), repository.commit("c")
    source = f"file://{repository.path}"
    for address in (source, str(repository.path)):
        assert changed_files(address, first, third) == {"rose/b", "c"}
        assert changed_files(address, third, first) == {"rose/b", "c"}
        assert changed_files(address, third, third) == frozenset()


def test_the_commits_between_two_releases_newest_first_wherever_the_repository_is(
    repository: Repository,
) -> None:
    first, _, third = repository.commit("a"), repository.commit("b"), repository.commit("c")
    repository.git("checkout", "--quiet", "-b", "side", first)
    aside = repository.commit("d")
    for address in (f"file://{repository.path}", str(repository.path)):
        found = commits_between(address, first, third)
        assert [line.partition(" ")[2] for line in found] == ["c", "b"]
        assert [line.partition(" ")[2] for line in commits_between(address, first, third, most=1)] == ["c"]
        assert [line.partition(" ")[2] for line in commits_between(address, third, aside)] == ["d"]
        assert commits_between(address, third, first) == [], "going back"
        assert commits_between(address, "", first) == []
        assert commits_between(address, "e" * 40, first) == []
    assert commits_between(f"file://{repository.path}/gone", first, third) == []


def test_a_commit_that_is_gone_cannot_be_compared(repository: Repository) -> None:
    assert changed_files(str(repository.path), "e" * 40, repository.commit("a")) is None


def test_a_repository_that_does_not_answer_is_said_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(Unreachable) as problem:
        read_refs("http://me:hunter2@127.0.0.1:1/x.git")
    assert "hunter2" not in str(problem.value)
