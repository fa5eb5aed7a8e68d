"""Which push starts what: the plain rules, from what a push says and what the environments watch."""

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Annotated

from pathspec import GitIgnoreSpec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from releases.spec import Name

BRANCH = "refs/heads/"
TAG = "refs/tags/"
# GitHub says that it lists up to 2048 commits, its older servers 20; 3000 files of each. A longer list
# than the shortest of these limits may have been cut, so it proves nothing about what was not touched.
LISTED_COMMITS = 20
LISTED_FILES = 3000


class Watched(BaseModel):
    """A service that an environment releases when somebody pushes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    repository: str = Field(description="OWNER/REPO on GitHub.", pattern=r"^[\w.-]+/[\w.-]+$")
    source: str = Field("", description="Where to fetch from; the repository on github.com if empty.")
    path: str = Field("", description="The service's folder in the repository.")
    paths: tuple[str, ...] = Field(
        (), description="Files elsewhere that matter to it, as in .gitignore; everything if neither is given."
    )

    @field_validator("paths")
    @classmethod
    def _readable(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        GitIgnoreSpec.from_lines(paths)  # raises a ValueError that names the pattern
        return paths

    @property
    def address(self) -> str:
        """Where to fetch from. Never taken from a payload: a push does not say whose code is run."""
        return self.source or f"https://github.com/{self.repository}.git"

    @property
    def is_part(self) -> bool:
        """Whether it is only a part of its repository."""
        return bool(self.path.strip("/") or self.paths)

    def cares_about(self, files: frozenset[str]) -> bool:
        """Whether one of the files belongs to the service."""
        folder = [f"/{self.path.strip('/')}/"] if self.path.strip("/") else []
        patterns = [*folder, *self.paths]
        return not patterns or any(GitIgnoreSpec.from_lines(patterns).match_files(files))


def _names_differ(services: list[Watched]) -> list[Watched]:
    names = [service.name for service in services]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two services are called {twice[0]!r}; one of them would never be released")
    return services


WatchedServices = Annotated[list[Watched], AfterValidator(_names_differ)]


@dataclass(frozen=True)
class Rule:
    """What one environment waits for."""

    environment: str
    branch: str  # empty: pushes start nothing here
    services: tuple[Watched, ...]
    tags: str = ""  # such as v*; empty: tags start nothing here


@dataclass(frozen=True)
class Push:
    """What GitHub says of a push."""

    repository: str
    ref: str
    after: str  # the commit, also where an annotated tag was pushed
    created: bool
    deleted: bool
    forced: bool
    commits: tuple[frozenset[str], ...]  # the files of each, as listed
    before: str = ""  # where the branch stood

    @property
    def files(self) -> frozenset[str] | None:
        """What the push touched; None where the list does not prove it."""
        cut = len(self.commits) >= LISTED_COMMITS or any(len(files) >= LISTED_FILES for files in self.commits)
        # A commit without files may be a merge: what it brings is not said.
        silent = not self.commits or any(not files for files in self.commits)
        if self.created or self.forced or cut or silent:
            return None
        return frozenset[str]().union(*self.commits)


@dataclass(frozen=True)
class Start:
    """One release to start. `ref` is the commit, so that a late delivery never means a later commit."""

    service: str
    environment: str
    source: str
    ref: str
    path: str
    branch: str  # empty: asked for by a tag, so no newer commit takes it back
    back: bool = False  # may lead back to a commit that was released before
    tag: str = ""  # the one that asks for it
    # The push does not say which files it touched: the run finds out whether the service is concerned.
    unsure: bool = field(default=False, compare=False)

    def key(self, delivery: str) -> str:
        """Prefect stores one run per flow and key: whoever asks for the commit gets the same run.

        A tag asks once, also for a commit that was released before: that is the way back by a tag.
        A push that may lead back to an earlier commit asks anew, once per delivery.
        """
        commit = f"push/{self.environment}/{self.service}/{self.ref}" + (f"/{self.tag}" if self.tag else "")
        return f"{commit}/{delivery}" if self.back else commit


@dataclass(frozen=True)
class Decision:
    """What a push starts; where it starts nothing, why."""

    starts: tuple[Start, ...] = ()
    ignored: str = ""


def decide(push: Push, rules: tuple[Rule, ...]) -> Decision:
    """Map a push to the releases that it starts."""
    gone = push.deleted or not push.after.strip("0")
    if push.ref.startswith(TAG):
        return _decide_tag(push, push.ref.removeprefix(TAG), rules, gone=gone)
    if not push.ref.startswith(BRANCH):
        return Decision(ignored=f"{push.ref} is no branch")
    branch = push.ref.removeprefix(BRANCH)
    if gone:
        return Decision(ignored=f"the branch {branch} was deleted; what is live stays live")
    ours = tuple(rule for rule in rules if rule.branch and rule.branch == branch)
    if not ours:
        return Decision(ignored=f"no environment releases from the branch {branch}")
    watching = _watching(push, ours)
    if not watching:
        names = " and ".join(rule.environment for rule in ours)
        return Decision(ignored=f"{names} releases from {branch}, but watches nothing in {push.repository}")
    files, back = push.files, push.forced or push.created
    starts = tuple(
        start(rule, service, push.after, branch, back=back, unsure=files is None and not back)
        for rule, service in watching
        if files is None or service.cares_about(files)
    )
    if not starts:
        names = ", ".join(sorted({service.name for _, service in watching}))
        return Decision(ignored=f"the push touches no file that {names} cares about")
    return Decision(starts)


def start(
    rule: Rule,
    service: Watched,
    commit: str,
    branch: str,
    *,
    back: bool = False,
    tag: str = "",
    unsure: bool = False,
) -> Start:
    """The release of a service's commit in the rule's environment."""
    name, address = service.name, service.address
    return Start(name, rule.environment, address, commit, service.path, branch, back, tag, unsure)


def _decide_tag(push: Push, tag: str, rules: tuple[Rule, ...], *, gone: bool) -> Decision:
    """A tag says which version a commit is; an environment that asks for tags releases it."""
    if gone:
        return Decision(ignored=f"the tag {tag} was deleted; what is live stays live")
    ours = tuple(rule for rule in rules if rule.tags and fnmatchcase(tag, rule.tags))
    if not ours:
        return Decision(ignored=f"no environment releases the tag {tag}")
    starts = tuple(start(rule, service, push.after, "", tag=tag) for rule, service in _watching(push, ours))
    if not starts:
        names = " and ".join(rule.environment for rule in ours)
        return Decision(ignored=f"{names} releases tags like {tag}, but watches nothing in {push.repository}")
    return Decision(starts)


def _watching(push: Push, rules: tuple[Rule, ...]) -> list[tuple[Rule, Watched]]:
    return [
        (rule, service)
        for rule in rules
        for service in rule.services
        if service.repository.lower() == push.repository.lower()
    ]
