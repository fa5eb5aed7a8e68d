"""Git's command, and where submodules come from."""

import re
from dataclasses import dataclass
from pathlib import Path

from blocks.command import Finished, TookTooLong, run
from releases.problem import BadInput, Failed, Problem, Unreachable

GIT_SECONDS = 300
# In English: its refusals are told apart by their words.
NO_QUESTIONS = {"GIT_TERMINAL_PROMPT": "0", "GIT_SSH_COMMAND": "ssh -oBatchMode=yes", "LC_ALL": "C"}
REFUSED = re.compile(
    r"authentication failed|could not read (username|password)|permission denied|host key verification failed"
    r"|requested url returned error: 40[13]|repository ('.*' )?not found|access denied",
    re.IGNORECASE,
)
# A name that hosts take alone, without a password.
TOKEN = re.compile(r"gh[a-z]_|github_pat_|glpat-")
GITLINK = "160000"  # the mode of a submodule's entry in a tree


@dataclass(frozen=True)
class Submodule:
    """A submodule at a commit. `path` is from the top of the repository."""

    name: str
    path: str
    url: str
    revision: str

    def repository(self, parent: Path, scratch: Path) -> Path:
        """A repository that has the commit: the parent's own copy, else a clone. Raises Unreachable."""
        own = Path(git(parent, "rev-parse", "--absolute-git-dir").output.strip()) / "modules" / self.name
        if own.is_dir() and git(own, "cat-file", "-e", f"{self.revision}^{{commit}}").code == 0:
            return own
        into = scratch / self.name.replace("/", "-")
        clone(_absolute(self.url, parent), into)
        if git(into, "cat-file", "-e", f"{self.revision}^{{commit}}").code != 0:
            raise Failed(
                f"the submodule {self.path} has no commit {self.revision[:8]}",
                where=masked(self.url),
                next_step="push the submodule's commits first",
            )
        return into


def submodules(repository: Path, revision: str, prefix: str) -> list[Submodule]:
    """The submodules of a commit, under a folder of it. Raises Failed where .gitmodules does not name one."""
    words = ["ls-tree", "-r", "--full-tree", revision, *([prefix] if prefix else [])]
    entries = [line.split(maxsplit=3) for line in git(repository, *words).output.splitlines()]
    links = {path: sha for mode, _, sha, path in entries if mode == GITLINK}
    if not links:
        return []
    settings = ["config", "--blob", f"{revision}:.gitmodules", "--get-regexp", r"^submodule\..*\.(path|url)$"]
    told: dict[str, dict[str, str]] = {}
    for line in git(repository, *settings).output.splitlines():
        key, _, value = line.partition(" ")
        name, _, setting = key.removeprefix("submodule.").rpartition(".")
        told.setdefault(name, {})[setting] = value
    known = {one.get("path", ""): (name, one.get("url", "")) for name, one in told.items()}
    missing = [path for path in links if path not in known]
    if missing:
        raise Failed(f"the submodule {missing[0]} has no URL", where=".gitmodules")
    return [Submodule(known[path][0], path, known[path][1], sha) for path, sha in links.items()]


def clone(source: str, into: Path) -> None:
    """Fetch a repository, without a working tree. Raises Unreachable, Failed where we may not."""
    argv = ["git", "clone", "--quiet", "--no-checkout", "--", source, str(into)]
    finished = ask(argv, source, GIT_SECONDS)
    if finished.code != 0:
        raise refusal("the repository cannot be fetched", source, finished)


def ask(argv: list[str], source: str, seconds: float) -> Finished:
    """Run a git command that goes out to a repository. Raises Unreachable where it hangs."""
    try:
        return run(argv, timeout=seconds, env=NO_QUESTIONS)
    except TookTooLong as late:
        raise Unreachable(
            "the repository does not answer",
            where=masked(source),
            expected=late.expected,
            got=masked(f"{late.what}: {late.got}"),
        ) from late


def refusal(what: str, source: str, finished: Finished) -> Problem:
    """Unreachable, which may pass, or Failed: a login that is refused stays so."""
    got = masked(finished.tail).strip()
    if REFUSED.search(finished.output):
        helper = (
            "let git log in there as the user of this process: git config credential.helper, or an SSH key"
        )
        return Failed(
            what, where=masked(source), expected="a login that may read it", got=got, next_step=helper
        )
    return Unreachable(what, where=masked(source), got=got)


def masked(source: str) -> str:
    """A URL without the credentials somebody put into it."""
    return re.sub(r"://[^/\s]+@", "://***@", source)  # a password may have an @ of its own


def check_no_credentials(source: str) -> None:
    """Prefect stores a run's parameters in plain text. Raises BadInput."""
    found = re.match(r"https?://([^/\s]+)@", source)
    if found and (":" in found[1] or TOKEN.match(found[1])):
        raise BadInput(
            "the repository's URL holds a password or token, which would be stored in plain text",
            where=masked(source),
            expected="a URL without it",
            next_step="git config --global credential.helper store, then git ls-remote URL once, which asks",
        )


def git(folder: Path, *words: str) -> Finished:
    """Run git there; it never asks for anything."""
    return run(["git", "-C", str(folder), *words], timeout=GIT_SECONDS, env=NO_QUESTIONS)


def _absolute(url: str, parent: Path) -> str:
    """`../other.git` is meant from where the parent comes from (gitmodules(5))."""
    if not url.startswith(("./", "../")):
        return url
    base = git(parent, "config", "--get", "remote.origin.url").output.strip() or str(parent)
    while url.startswith(("./", "../")):
        if url.startswith("../"):
            base = base.rstrip("/").rpartition("/")[0] or base.rpartition(":")[0]
        url = url.split("/", 1)[1]
    return f"{base}/{url}"
