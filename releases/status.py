"""Reported state: one JSON document per node, written by the agent, read by controllers and people."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

FORMAT = 1
STATUS_PATH = "/_model-deploy/status"
RELEASE_HEADER = "X-Model-Deploy-Release"
CANDIDATE_HEADER = "X-Model-Deploy-Candidate"


class Phase(StrEnum):
    """Where a swap is. The order is the order of a swap that goes well."""

    pull = "pull"
    fetch = "fetch"
    start = "start"
    probe = "probe"
    verify = "verify"  # ready; only marked requests reach it
    switch = "switch"
    bake = "bake"  # has traffic, not confirmed, the old one stays warm
    drain = "drain"  # confirmed; the old one finishes its requests
    live = "live"
    reverted = "reverted"  # this generation was given up; see failure
    idle = "idle"  # nothing wanted, nothing running


class Failure(BaseModel):
    """Why a generation was given up."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    phase: Phase
    reason: str
    elapsed: float | None = Field(None, description="Seconds in the phase.")
    limit: float | None = Field(None, description="Seconds it had.")
    last_answer: str = ""
    log_tail: tuple[str, ...] = ()
    next_step: str = ""

    def without_words(self) -> "Failure":
        """Without what the container answered and wrote, which may hold anything."""
        return self.model_copy(update={"last_answer": "", "log_tail": ()})


class Counters(BaseModel):
    """What the edge has counted of one container's answers, since the candidate became ready."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    requests: int = 0
    errors: int = Field(0, description="5xx, cut answers, connections that failed.")
    milliseconds: float = Field(0, description="So long at most took 95 % of them; 0: unknown.")

    @property
    def share(self) -> float:
        """Of the requests, how many failed."""
        return self.errors / self.requests if self.requests else 0.0


class SideBySide(BaseModel):
    """A candidate that has a part of the traffic, and the release that has the rest."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    candidate: Counters = Counters()
    live: Counters = Counters()


class CertificateStatus(BaseModel):
    """The certificate of a service whose TLS ends at the edge."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    secret: str
    expires: datetime | None = Field(None, description="Of the one that is served; none: none is.")
    problem: str = Field(
        "", description="Why the secret's newest version is not served; or that it ends soon."
    )

    def __str__(self) -> str:
        served = f"until {self.expires:%Y-%m-%d}" if self.expires else "none is served"
        return f"certificate {self.secret}: {served}" + (f"; {self.problem}" if self.problem else "")


class ServiceStatus(BaseModel):
    """One service on one node."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    generation: int = Field(0, description="The desired generation this is about.")
    phase: Phase = Phase.idle
    traffic: int = Field(0, description="Per cent that the generation's candidate gets now.")
    live: int | None = Field(None, description="Number of the release that has the traffic.")
    confirmed: int | None = Field(None, description="Number of the last confirmed release.")
    confirmed_generation: int | None = None
    candidate: int | None = None
    counters: SideBySide | None = Field(None, description="While a candidate has a part of the traffic.")
    reverts_in: float | None = Field(None, description="Seconds left to confirm in.")
    failure: Failure | None = None
    reverted: dict[int, Failure] = Field(default_factory=dict, description="Generation → why, newest few.")
    public_port: int | None = None
    hosts: tuple[str, ...] = Field((), description="The names it is asked by, if it shares its port.")
    certificate: CertificateStatus | None = None
    message: str = ""
    changed: str = Field("", description="What somebody has changed on the live container by hand.")
    seconds: dict[str, float] = Field(
        default_factory=dict, description="Phase → seconds, of this generation."
    )

    def without_words(self) -> "ServiceStatus":
        """For whoever may not read the service's logs."""
        reverted = {generation: one.without_words() for generation, one in self.reverted.items()}
        failure = self.failure.without_words() if self.failure else None
        return self.model_copy(update={"failure": failure, "reverted": reverted})


class NodeStatus(BaseModel):
    """The whole document."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    format: int = FORMAT
    node: str
    agent: str = Field("", description="The agent's image.")
    at: datetime = Field(description="By the node's own clock.")
    age: float | None = Field(
        None, description="Seconds since it was reported, which the agent counts itself where it is asked."
    )
    problem: str = Field("", description="What keeps the agent from reading its desired state.")
    logs_problem: str = Field("", description="What keeps containers' log lines from the store.")
    services: dict[str, ServiceStatus] = Field(default_factory=dict)

    def silent_for(self, now: datetime) -> float:
        """Seconds since the agent's last report; where it does not count them, by its clock and ours."""
        return (now - self.at).total_seconds() if self.age is None else self.age

    def shown_to(self, token: str, keys: Mapping[str, str]) -> "NodeStatus":
        """What an asker with this token may see; `keys`: service → its last candidate's, as hex SHA-256."""
        key = hashlib.sha256(token.encode()).hexdigest()
        shown = {
            name: one if keys.get(name) == key else one.without_words() for name, one in self.services.items()
        }
        return self.model_copy(update={"services": shown})
