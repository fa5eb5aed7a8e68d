"""Which pull request is checked: its newest commit is tested and built, never pushed or deployed."""

from dataclasses import dataclass

from releases.trigger import Rule, Watched

NEW_COMMITS = ("opened", "synchronize", "reopened")


@dataclass(frozen=True)
class PullRequest:
    """What GitHub says of a pull request."""

    repository: str
    number: int
    action: str
    base: str  # the branch that it is to be merged into
    after: str  # its newest commit

    @property
    def ref(self) -> str:
        """Where its commits are in the repository that it asks to be merged into, from a fork or not."""
        return f"refs/pull/{self.number}/head"


@dataclass(frozen=True)
class Check:
    """Tests and build of a commit, to start."""

    service: str
    environment: str  # whose builder
    source: str
    ref: str
    path: str
    repository: str
    pull_request: int

    def key(self, _delivery: str) -> str:
        """Each commit of a pull request is checked once."""
        return f"check/{self.repository.lower()}/{self.pull_request}/{self.service}/{self.ref}"


@dataclass(frozen=True)
class Checks:
    """What a pull request starts; where it starts nothing, why."""

    starts: tuple[Check, ...] = ()
    ignored: str = ""


def decide(pull: PullRequest, rules: tuple[Rule, ...]) -> Checks:
    """Map a pull request to the checks that it starts."""
    if pull.action not in NEW_COMMITS:
        return Checks(ignored=f"the pull request was {pull.action}; only new commits are checked")
    ours = [rule for rule in rules if rule.branch and rule.branch == pull.base]
    if not ours:
        return Checks(ignored=f"no environment releases from the branch {pull.base}")
    found: dict[str, tuple[Rule, Watched]] = {}
    for rule in ours:
        for service in rule.services:
            if service.repository.lower() == pull.repository.lower():
                found.setdefault(service.name, (rule, service))
    if not found:
        return Checks(ignored=f"nothing in {pull.repository} is watched")
    return Checks(tuple(_check(pull, rule, service) for rule, service in found.values()))


def _check(pull: PullRequest, rule: Rule, service: Watched) -> Check:
    return Check(
        service=service.name,
        environment=rule.environment,
        source=service.address,
        ref=pull.after,
        path=service.path,
        repository=pull.repository,
        pull_request=pull.number,
    )
