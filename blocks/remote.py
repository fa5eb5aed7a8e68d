"""A repository as it is where it comes from: its branches, its tags, and what differs between two commits."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from blocks.command import run
from blocks.git import NO_QUESTIONS, git, masked
from releases.problem import Failed, Unreachable

ASK_SECONDS = 30
FETCH_SECONDS = 120
BRANCH = "refs/heads/"
TAG = "refs/tags/"
PEELED = "^{}"  # git's mark of the commit that an annotated tag names


@dataclass(frozen=True)
class Refs:
    """The branches and tags of a repository, each with its commit."""

    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


def read_refs(source: str) -> Refs:
    """Ask for them, without fetching anything. Raises Unreachable."""
    argv = ["git", "ls-remote", "--heads", "--tags", "--", source]
    try:
        finished = run(argv, timeout=ASK_SECONDS, env=NO_QUESTIONS)
    except Failed as late:
        raise Unreachable("the repository does not answer", where=masked(source), got=late.what) from late
    if finished.code != 0:
        raise Unreachable(
            "the repository cannot be asked", where=masked(source), got=masked(finished.tail).strip()
        )
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
    with tempfile.TemporaryDirectory(prefix="model-deploy-compare-") as name:
        folder = Path(name)
        # Two commits with their trees and nothing else: quick in a repository of any size.
        fetch = ["fetch", "--quiet", "--depth=1", "--filter=blob:none", "--no-tags", "origin", old, new]
        try:
            run(["git", "init", "--quiet", "--bare", str(folder)], timeout=ASK_SECONDS)
            git(folder, "remote", "add", "--", "origin", source)
            argv = ["git", "-C", str(folder), *fetch]
            if run(argv, timeout=FETCH_SECONDS, env=NO_QUESTIONS).code != 0:
                return None
            listed = git(folder, "diff-tree", "-r", "-z", "--name-only", "--no-renames", old, new)
        except Failed:
            return None
        return frozenset(filter(None, listed.output.split("\0"))) if listed.code == 0 else None
