"""What a person is asked to approve, and when that answer still counts."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from releases.evidence import Proof
from releases.gate import Finding
from releases.problem import Refused
from releases.release import Release, ReleasedModel

SHOWN_COMMITS = 20


class Rejected(Refused):
    """A person said no."""


class Expired(Refused):
    """Nobody answered in time."""


@dataclass(frozen=True)
class Proposal:
    """What would change in an environment. `image` is empty where it is built only afterwards."""

    service: str
    environment: str
    version: str
    revision: str
    image: str
    content: str  # what is approved: the digest, or the revision that is built
    model: ReleasedModel | None
    live: Release | None
    commits: tuple[str, ...] = ()
    proof: Proof | None = None
    findings: Sequence[Finding] = ()

    @property
    def title(self) -> str:
        """One line."""
        model = f" with model {self.model}" if self.model else ""
        return f"{self.service} {self.version}{model} to {self.environment}"

    @property
    def key(self) -> str:
        """The same for the same change only: another release live meanwhile makes it another question."""
        content = [self.service, self.environment, self.content]
        content += [
            str(self.model or ""),
            self.model.sha256 if self.model else "",
            str(self.live.number if self.live else 0),
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def page(proposal: Proposal) -> str:
    """What the person reads, as markdown."""
    live = proposal.live
    rows = [
        ("version", live.version if live else "", proposal.version),
        ("digest", live.digest[:19] if live else "", _digest(proposal)),
        ("model", str((live.model if live else None) or ""), str(proposal.model or "")),
    ]
    head = f"| | live now{f' (release {live.number})' if live else ''} | would be |"
    table = [head, "|---|---|---|", *(f"| {name} | {was or '—'} | {now or '—'} |" for name, was, now in rows)]
    commits = [f"- {commit}" for commit in proposal.commits[:SHOWN_COMMITS]]
    if len(proposal.commits) > SHOWN_COMMITS:
        commits.append(f"- and {len(proposal.commits) - SHOWN_COMMITS} more")
    parts = [
        f"**{proposal.title}**",
        "\n".join(table),
        "\n".join(["Commits:", "", *commits]) if commits else "",
        _proven(proposal.proof),
        "\n".join(f"- gate `{one.gate}`: {one.said}" for one in proposal.findings),
        "If another release goes live here meanwhile, the answer is void and you are asked again.",
    ]
    return "\n\n".join(part for part in parts if part)


def _proven(proof: Proof | None) -> str:
    if proof is None:
        return "Not proven in another environment."
    lines = [f"- {check}: passed, p95 {seconds * 1000:.0f} ms" for check, seconds in proof.checks.items()]
    where = f"{proof.environment} as release {proof.number}, confirmed {proof.confirmed:%Y-%m-%d %H:%M} UTC"
    tests = f" {proof.tests} tests passed." if proof.tests else ""
    asked = ["Smoke checks there just now:", "", *lines] if lines else []  # a release asks none there
    return " ".join([f"Proven in {where}.{tests}", "\n".join(asked)]).rstrip()


def _digest(proposal: Proposal) -> str:
    return proposal.image.rpartition("@")[2][:19] or "built once approved"
