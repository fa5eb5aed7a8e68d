"""The sources of a release: any ref of a local path or a git URL, as a clean build context."""

import difflib
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from blocks.command import Finished, run
from releases.problem import BadInput, Failed, Unreachable

GIT_SECONDS = 300
NO_QUESTIONS = {"GIT_TERMINAL_PROMPT": "0", "GIT_SSH_COMMAND": "ssh -oBatchMode=yes"}


@dataclass(frozen=True)
class Checkout:
    """A build context and what it is."""

    folder: Path
    revision: str
    source: str
    dirty: bool
    tree: str  # git's hash of the service's folder; empty when dirty

    @property
    def short(self) -> str:
        """The commit, as people say it."""
        return self.revision[:8] + ("-dirty" if self.dirty else "")

    def require(self, dockerfile: str) -> None:
        """Raise BadInput where there is no Dockerfile."""
        if not (self.folder / dockerfile).is_file():
            raise BadInput(
                "there is no Dockerfile",
                where=f"{self.source} at {self.short}",
                expected=f"a file {dockerfile}",
                next_step="write one, or name it in model-deploy.yaml under build.dockerfile",
            )


def check_out(source: str, ref: str, path: str, into: Path) -> Checkout:
    """Export `path` of the repository at `ref`. Raises BadInput, Unreachable.

    A local repository at HEAD with uncommitted changes is exported as it lies there, and said to be dirty.
    """
    repository, local = _repository(source, into / "repository")
    revision = _resolve(repository, ref, source)
    folder = into / "context"
    folder.mkdir(parents=True)
    prefix = path.strip("/")
    if local and ref == "HEAD" and _is_dirty(repository):
        _copy_worktree(repository / prefix, folder)
        return Checkout(folder, revision, masked(source), dirty=True, tree="")
    inside = f"{revision}:{prefix}" if prefix else f"{revision}^{{tree}}"
    tree = _git(repository, "rev-parse", "--verify", "--quiet", inside)
    if tree.code != 0:
        raise BadInput(f"there is no folder {path}", where=f"{masked(source)} at {ref}")
    _export(repository, inside, folder, into)
    return Checkout(folder, revision, masked(source), dirty=False, tree=tree.output.strip())


def commits_between(source: str, old: str, new: str, most: int = 20) -> list[str]:
    """The commits from one release to the next, newest first; none where the history does not tell."""
    if not old or not new or not Path(source).exists():
        return []
    finished = _git(Path(source), "log", "--oneline", "--no-decorate", f"-{most}", f"{old}..{new}")
    return finished.output.splitlines() if finished.code == 0 else []


def masked(source: str) -> str:
    """A URL without the credentials somebody put into it."""
    return re.sub(r"://[^/@]+@", "://***@", source)


def _repository(source: str, into: Path) -> tuple[Path, bool]:
    if "://" in source or re.match(r"^[\w.-]+@[\w.-]+:", source):
        _clone(source, into)
        return into, False
    folder = Path(source).expanduser().absolute()
    top = _git(folder, "rev-parse", "--show-toplevel") if folder.is_dir() else None
    if top is None or top.code != 0:
        raise BadInput(
            "this is not a git repository",
            where=str(folder),
            expected="a folder with a git repository, or a git URL",
            next_step=f"git init {folder}, and commit" if folder.is_dir() else "",
        )
    return Path(top.output.strip()), True


def _clone(source: str, into: Path) -> None:
    argv = ["git", "clone", "--quiet", "--no-checkout", "--", source, str(into)]
    finished = run(argv, timeout=GIT_SECONDS, env=NO_QUESTIONS)
    if finished.code != 0:
        raise Unreachable(
            "the repository cannot be fetched", where=masked(source), got=masked(finished.tail).strip()
        )


def _resolve(repository: Path, ref: str, source: str) -> str:
    for name in (ref, f"origin/{ref}"):
        found = _git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        if found.code == 0:
            return found.output.strip().splitlines()[-1]
    names = _git(repository, "for-each-ref", "--format=%(refname:short)").output.split()
    near = difflib.get_close_matches(ref, [name.removeprefix("origin/") for name in names], n=3)
    raise BadInput(
        f"there is no ref {ref}",
        where=masked(source),
        expected=f"did you mean {' or '.join(near)}?" if near else "a branch, a tag or a commit",
    )


def _is_dirty(repository: Path) -> bool:
    return bool(_git(repository, "status", "--porcelain").output.strip())


def _copy_worktree(repository: Path, folder: Path) -> None:
    """What git tracks, and what it does not but also does not ignore."""
    listed = _git(repository, "ls-files", "-z", "--cached", "--others", "--exclude-standard").output
    for name in filter(None, listed.split("\0")):
        source, copy = repository / name, folder / name
        if source.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy, follow_symlinks=False)


def _export(repository: Path, tree: str, folder: Path, into: Path) -> None:
    archive = into / "context.tar"
    for argv in (
        ["git", "-C", str(repository), "archive", "--format=tar", "-o", str(archive), tree],
        ["tar", "-xf", str(archive), "-C", str(folder)],
    ):
        finished = run(argv, timeout=GIT_SECONDS)
        if finished.code != 0:
            raise Failed("the sources cannot be exported", got=finished.tail)
    archive.unlink()
    if (folder / ".gitmodules").exists():
        raise Failed(
            "the repository has submodules, which are not carried along yet",
            where=".gitmodules",
            next_step="copy the files into the repository",
        )


def _git(folder: Path, *words: str) -> Finished:
    argv = ["git", "-C", str(folder), *words]
    return run(argv, timeout=GIT_SECONDS, env=NO_QUESTIONS)
