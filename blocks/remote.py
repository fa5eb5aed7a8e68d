"""A repository as it is where it comes from: its branches and tags, and what lies between two commits."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from blocks.command import run
from blocks.git import NO_QUESTIONS, ask, git, refusal
from releases.problem import Failed

ASK_SECONDS = 30
FETCH_SECONDS = 120
BRANCH = "refs/heads/"
TAG = "refs/tags/"
COMMIT = "commit:/"  # no file's name begins like that
PEELED = "^{}"  # git's mark of the commit that an annotated tag names


@dataclass(frozen=True)
class Refs:
    """The branches and tags of a repository, each with its commit."""

    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


def read_refs(source: str) -> Refs:
    """Ask for them, without fetching anything. Raises Unreachable, Failed where we may not."""
    finished = ask(["git", "ls-remote", "--heads", "--tags", "--", source], source, ASK_SECONDS)
    if finished.code != 0:
        raise refusal("the repository cannot be asked", source, finished)
    lines = [line.split("\t", 1) for line in finished.output.splitlines() if "\t" in line]
    named = {name: commit for commit, name in lines}
    tags = {
        name.removeprefix(TAG): named.get(name + PEELED, commit)
        for name, commit in named.items()
        if name.startswith(TAG) and not name.endswith(PEELED)
    }
    branches = {name.removeprefix(BRANCH): one for name, one in named.items() if name.startswith(BRANCH)}
    return Refs(branches, tags)


def changed_files(source: str, old: str, new: str) -> frozenset[str] | None:
    """The files that differ between two commits; None where that cannot be told."""
    # Two commits with their trees and nothing else: quick in a repository of any size.
    with _fetched(source, ["--depth=1", "--filter=blob:none"], old, new) as folder:
        if folder is None:
            return None
        listed = git(folder, "diff-tree", "-r", "-z", "--name-only", "--no-renames", old, new)
        return frozenset(filter(None, listed.output.split("\0"))) if listed.code == 0 else None


def commits_between(source: str, old: str, new: str, most: int = 20) -> list[str]:
    """The commits from one release to the next, newest first; none where the history does not tell."""
    if not old or not new or old == new:
        return []
    if Path(source).exists():
        return _log(Path(source), old, new, most)
    with _fetched(source, ["--filter=tree:0"], old, new) as folder:  # commits, and no files
        return _log(folder, old, new, most) if folder else []


def files_of_commits(source: str, old: str, new: str) -> dict[str, frozenset[str]] | None:
    """Each commit from one to the other, merges apart, with its files; None where that cannot be told."""
    with _fetched(source, ["--filter=blob:none"], old, new) as folder:
        if folder is None:
            return None
        words = ["--no-merges", "--no-renames", "--name-only", "-z", f"--format={COMMIT}%H", f"{old}..{new}"]
        listed = git(folder, "log", *words)
    if listed.code != 0:
        return None
    found: dict[str, set[str]] = {}
    files: set[str] = set()
    for line in listed.output.split("\0"):
        name = line.strip("\n")
        if name.startswith(COMMIT):
            files = found.setdefault(name.removeprefix(COMMIT), set())
        elif name:
            files.add(name)
    return {commit: frozenset(touched) for commit, touched in found.items()}


def _log(folder: Path, old: str, new: str, most: int) -> list[str]:
    finished = git(folder, "log", "--oneline", "--no-decorate", f"-{most}", f"{old}..{new}")
    return finished.output.splitlines() if finished.code == 0 else []


@contextmanager
def _fetched(source: str, how: list[str], *commits: str) -> Iterator[Path | None]:
    """A repository with the commits in it while the block runs; None where they cannot be had."""
    with tempfile.TemporaryDirectory(prefix="model-deploy-compare-") as name:
        yield Path(name) if _fetch(source, Path(name), how, commits) else None


def _fetch(source: str, into: Path, how: list[str], commits: Sequence[str]) -> bool:
    words = ["fetch", "--quiet", *how, "--no-tags", "origin", *commits]
    try:
        run(["git", "init", "--quiet", "--bare", str(into)], timeout=ASK_SECONDS)
        git(into, "remote", "add", "--", "origin", source)
        return run(["git", "-C", str(into), *words], timeout=FETCH_SECONDS, env=NO_QUESTIONS).code == 0
    except Failed:
        return False
