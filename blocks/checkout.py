"""The sources of a release: any ref of a local path or a git URL, as a clean build context."""

import difflib
import re
import shutil
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from blocks.command import run
from blocks.git import GIT_SECONDS, NO_QUESTIONS, ask, clone, git, masked, submodules
from releases.problem import BadInput, Failed

LARGEST_POINTER = 1024  # bytes; Git LFS keeps its pointer files under that


@dataclass(frozen=True)
class Checkout:
    """A build context and what it is."""

    folder: Path
    repository: Path  # where its history is, a clone included
    revision: str
    source: str
    dirty: bool
    tree: str  # git's hash of the service's folder; empty when dirty
    tags: tuple[str, ...] = ()  # that name the commit

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


def check_out(source: str, ref: str, path: str, into: Path, also: str = "") -> Checkout:
    """Export `path` of the repository at `ref`. Raises BadInput, Unreachable.

    `also`: a ref to fetch that a clone leaves out, such as a pull request's.
    A local repository at HEAD with uncommitted changes is exported as it lies there, and said to be dirty.
    """
    repository, local = _repository(source, into / "repository")
    if also and not local:
        fetch = ["git", "-C", str(repository), "fetch", "--quiet", "origin", also]
        ask(fetch, source, GIT_SECONDS)  # what is missing then is named by _resolve
    revision = _resolve(repository, ref, source)
    folder = into / "context"
    folder.mkdir(parents=True)
    prefix = path.strip("/")
    if local and ref == "HEAD" and _is_dirty(repository):
        if not (repository / prefix).is_dir():
            raise BadInput(f"there is no folder {path}", where=str(repository))
        _copy_worktree(repository / prefix, folder)
        _check_lfs(folder)
        return Checkout(folder, repository, revision, masked(source), dirty=True, tree="")
    inside = f"{revision}:{prefix}/" if prefix else f"{revision}^{{tree}}"
    tree = git(repository, "rev-parse", "--verify", "--quiet", inside)
    if tree.code != 0:
        raise BadInput(f"there is no folder {path}", where=f"{masked(source)} at {ref}")
    _export(repository, revision, prefix, folder)
    folder /= prefix
    _check_lfs(folder)
    tags = git(repository, "tag", "--points-at", revision).output.split()
    return Checkout(
        folder,
        repository,
        revision,
        masked(source),
        dirty=False,
        tree=tree.output.strip(),
        tags=tuple(tags),
    )


def committed_at(source: str, revision: str) -> datetime | None:
    """When a release's revision was committed; None where its repository is not on this machine."""
    if not revision or not Path(source).exists():
        return None
    finished = git(Path(source), "log", "-1", "--format=%cI", revision)
    return datetime.fromisoformat(finished.output.strip()) if finished.code == 0 else None


def _repository(source: str, into: Path) -> tuple[Path, bool]:
    if "://" in source or re.match(r"^[\w.-]+@[\w.-]+:", source):
        clone(source, into)
        return into, False
    folder = Path(source).expanduser().absolute()
    top = git(folder, "rev-parse", "--show-toplevel") if folder.is_dir() else None
    if top is None or top.code != 0:
        raise _no_repository(folder, top.output.strip() if top else "no such folder")
    return Path(top.output.strip()), True


def _no_repository(folder: Path, said: str) -> BadInput:
    """`said`: what git says of the folder."""
    trust = re.search(r"^\s*(git config --global --add safe\.directory .+)$", said, re.MULTILINE)
    if trust:
        return BadInput(
            "git does not read this repository: it belongs to another user",
            where=str(folder),
            expected="a repository of the user who runs this, or one that the user trusts",
            got=said.splitlines()[0],
            next_step=trust[1],
        )
    return BadInput(
        "this is not a git repository",
        where=str(folder),
        expected="a folder with a git repository, or a git URL",
        got=said,
        next_step=f"git init {folder}, and commit" if folder.is_dir() else "",
    )


def _resolve(repository: Path, ref: str, source: str) -> str:
    for name in (ref, f"origin/{ref}"):
        found = git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        if found.code == 0:
            return found.output.strip().splitlines()[-1]
    names = git(repository, "for-each-ref", "--format=%(refname:short)").output.split()
    near = difflib.get_close_matches(ref, [name.removeprefix("origin/") for name in names], n=3)
    raise BadInput(
        f"there is no ref {ref}",
        where=masked(source),
        expected=f"did you mean {' or '.join(near)}?" if near else "a branch, a tag or a commit",
    )


def _is_dirty(repository: Path) -> bool:
    return bool(git(repository, "status", "--porcelain").output.strip())


def _copy_worktree(repository: Path, folder: Path) -> None:
    """What git tracks, in submodules too, and what it does not but also does not ignore."""
    tracked = git(repository, "ls-files", "-z", "--cached", "--recurse-submodules").output
    others = git(repository, "ls-files", "-z", "--others", "--exclude-standard").output
    for name in filter(None, (tracked + others).split("\0")):
        source, copy = repository / name, folder / name
        if source.is_symlink() or source.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy, follow_symlinks=False)


def _export(repository: Path, revision: str, prefix: str, folder: Path) -> None:
    """Write a commit's files under `prefix`, those of its submodules included, as a checkout does.

    With Git's own filters (LFS), and an index of its own: the repository stays as it is.
    """
    with tempfile.TemporaryDirectory(prefix="model-deploy-export-") as scratch:
        own = {**NO_QUESTIONS, "GIT_INDEX_FILE": f"{scratch}/index"}
        there = ["git", "-C", str(repository), f"--work-tree={folder}"]
        for words in (
            ["read-tree", revision],  # all of it: .gitattributes above `prefix` count too
            ["checkout", "--quiet", "--", f":(top,literal){prefix}"],
        ):
            finished = run([*there, *words], timeout=GIT_SECONDS, env=own)
            if finished.code != 0:
                raise Failed("the sources cannot be exported", got=finished.tail)
        for submodule in submodules(repository, revision, prefix):
            within = folder / submodule.path
            within.mkdir(parents=True, exist_ok=True)
            _export(submodule.repository(repository, Path(scratch)), submodule.revision, "", within)


def _check_lfs(folder: Path) -> None:
    """Pointers instead of files would be built into the image: a model of 130 bytes."""
    pointers = [str(file.relative_to(folder)) for file in folder.rglob("*") if _is_pointer(file)]
    if pointers:
        raise BadInput(
            f"{len(pointers)} files are in Git LFS, and only their pointers are here",
            where=", ".join(pointers[:3]),
            expected="git-lfs on this machine, and the files in the repository's LFS store",
            next_step="apt-get install git-lfs && git lfs install && git lfs fetch",
        )


def _is_pointer(file: Path) -> bool:
    if not file.is_file() or file.stat().st_size > LARGEST_POINTER:
        return False
    return file.read_bytes().startswith(b"version https://git-lfs.github.com/spec/")
