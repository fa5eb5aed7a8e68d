"""Desired state: one JSON document per node, written by controllers, read by the agent."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

from releases.problem import Refused, Superseded
from releases.release import Release

FORMAT = 1


class Candidate(BaseModel):
    """A release on trial. traffic: 0 = only marked requests, 1-99 = canary, 100 = switched."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    release: Release
    traffic: int = Field(0, ge=0, le=100)
    key_sha256: str = Field(description="Hex SHA-256 of the secret header's value that reaches it.")
    window: float | None = Field(
        None, gt=0, description="Seconds to confirm in, where other nodes come later; else the release's."
    )

    renewed: int = Field(0, ge=0, description="The window is counted anew when it grows: others are slow.")

    @property
    def confirm_window(self) -> float:
        """Seconds; counted by the node anew at each change of traffic, and when it is renewed."""
        return self.window or self.release.confirm_window


class ServiceDesired(BaseModel):
    """What one service should be on a node."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    generation: int = Field(0, ge=0)
    confirmed: Release | None = None
    candidate: Candidate | None = None


class Desired(BaseModel):
    """The whole document."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    format: int = FORMAT
    services: Mapping[str, ServiceDesired] = Field(default_factory=dict)
    acme: str = Field(
        "", pattern=r"^[A-Za-z0-9_-]*$", description="Thumbprint of the ACME account the edge answers for."
    )

    def of(self, service: str) -> ServiceDesired:
        """The service's part; an unknown service wants nothing."""
        return self.services.get(service, ServiceDesired())

    def with_service(self, service: str, wanted: ServiceDesired) -> "Desired":
        """A copy in which only this service's part is replaced."""
        return self.model_copy(update={"services": {**self.services, service: wanted}})


def propose(
    now: ServiceDesired,
    release: Release,
    key_sha256: str,
    *,
    reverted: bool = False,
    window: float | None = None,
) -> ServiceDesired:
    """Put a candidate on trial, under a new generation.

    `reverted`: the node has said that the candidate standing there was reverted. Raises Refused.
    """
    if now.candidate is not None and not reverted:
        standing = now.candidate.release
        raise Refused(
            f"release {standing.number} of {release.service} is still on trial",
            where=f"environment {release.environment}",
            expected="it is confirmed or reverted first",
            got=f"generation {now.generation} with {now.candidate.traffic} % of the traffic",
            next_step=f"wait {now.candidate.confirm_window:.0f} s: unconfirmed, it is reverted by itself",
        )
    return ServiceDesired(
        generation=now.generation + 1,
        confirmed=now.confirmed,
        candidate=Candidate(release=release, traffic=0, key_sha256=key_sha256, window=window),
    )


def shift(now: ServiceDesired, generation: int, traffic: int) -> ServiceDesired:
    """Give the candidate of this generation more or less traffic. Raises Superseded."""
    candidate = _candidate_of(now, generation)
    return now.model_copy(update={"candidate": candidate.model_copy(update={"traffic": traffic})})


def renew(now: ServiceDesired, generation: int) -> ServiceDesired:
    """Have the window of this generation's candidate counted anew. Raises Superseded."""
    candidate = _candidate_of(now, generation)
    again = candidate.model_copy(update={"renewed": candidate.renewed + 1})
    return now.model_copy(update={"candidate": again})


def confirm(now: ServiceDesired, generation: int) -> ServiceDesired:
    """Make the candidate of this generation the confirmed release. Raises Superseded."""
    if now.generation == generation and now.candidate is None:
        return now  # said before: a repeated confirm changes nothing
    candidate = _candidate_of(now, generation)
    return now.model_copy(update={"confirmed": candidate.release, "candidate": None})


def revert(now: ServiceDesired, generation: int) -> ServiceDesired:
    """Take the candidate of this generation back, under a new generation. Raises Superseded."""
    _candidate_of(now, generation)
    return ServiceDesired(generation=now.generation + 1, confirmed=now.confirmed, candidate=None)


def put_back(now: ServiceDesired, generation: int, former: Release | None) -> ServiceDesired:
    """Make `former` the confirmed release again where this generation's was not. Raises Superseded."""
    if now.generation != generation:
        raise _moved(now, f"generation {generation}")
    return ServiceDesired(generation=now.generation + 1, confirmed=former, candidate=None)


def _candidate_of(now: ServiceDesired, generation: int) -> Candidate:
    if now.generation != generation or now.candidate is None:
        raise _moved(now, f"generation {generation} with a candidate")
    return now.candidate


def _moved(now: ServiceDesired, expected: str) -> Superseded:
    return Superseded(
        "somebody else has changed this service meanwhile",
        expected=expected,
        got=f"generation {now.generation}, {'a' if now.candidate else 'no'} candidate",
        next_step="model-deploy status",
    )
