"""A release: image digest + model version + settings. Numbered, and immutable once written."""

import hashlib
from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from releases.evidence import Approval, Proof
from releases.rollout import Rollout
from releases.spec import Run, SmokeCheck, is_unsaid


class ReleasedModel(BaseModel):
    """The model of a release: never an alias, which may point elsewhere tomorrow."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    version: str
    # Left out where it is empty: the fingerprints of releases from before there was one stay as they are.
    sha256: str = Field(
        "", exclude_if=lambda value: not value, description="Of the manifest; empty: the image carries it."
    )

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


class Release(BaseModel):
    """Everything a node needs to run a service, and what a person asks about it later."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    service: str
    environment: str
    number: int = Field(ge=1)
    image: str = Field(description="repository@sha256:…", pattern=r"^.+@sha256:[0-9a-f]{64}$")
    version: str = Field(description="For people: the commit's short name, or a tag.")
    revision: str = Field("", description="The commit the image was built from.")
    source: str = Field("", description="Where the sources came from: a path or URL.")
    source_key: str = ""
    dirty: bool = False
    model: ReleasedModel | None = None
    port: int = Field(ge=1, le=65535, description="Port in the container.")
    public_port: int = Field(ge=1, le=65535, description="Port at the edge.")
    run: Run
    smoke: tuple[SmokeCheck, ...] = Field((), description="Checked again when this release is brought back.")
    confirm_window: float = Field(gt=0, description="Seconds; see releases.swap.")
    rollout: Rollout | None = Field(None, exclude_if=is_unsaid)
    bake: float = Field(
        0, ge=0, exclude_if=is_unsaid, description="Seconds it is watched before it is confirmed."
    )
    restores: int | None = Field(None, description="The release that this one brings back.")
    tests: int = Field(
        0, ge=0, exclude_if=is_unsaid, description="How many its sources have passed; 0: none is known."
    )
    promoted: Proof | None = Field(None, exclude_if=is_unsaid, description="Where it was proven before.")
    approval: Approval | None = Field(None, exclude_if=is_unsaid)
    freeze_override: str = Field(
        "", exclude_if=is_unsaid, description="Why it was released in a freeze window."
    )
    created: datetime
    created_by: str = ""

    @property
    def digest(self) -> str:
        """The part of the image after the @."""
        return self.image.rsplit("@", 1)[1]

    @property
    def model_sha256(self) -> str:
        """Which model the node fetches; empty: none."""
        return self.model.sha256 if self.model else ""

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names at the edge; empty: the port is this service's alone."""
        return self.run.names(self.environment)

    @property
    def certificate(self) -> str:
        """The secret with the certificate for these names; empty: no TLS at the edge."""
        return self.run.certificate(self.environment)

    @property
    def host(self) -> str:
        """The name to ask a node's edge by, where it has one."""
        return next(iter(self.hosts), "")

    @property
    def fingerprint(self) -> str:
        """Short hash of the whole document: what a container's label says it runs."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]

    @property
    def content_number(self) -> int:
        """The release whose content this is: itself, or the one it restores."""
        return self.restores or self.number


class Verdict(StrEnum):
    """How a release ended."""

    confirmed = "confirmed"
    reverted = "reverted"
    failed = "failed"  # never reached a user


class Outcome(BaseModel):
    """What became of a release; written once, beside the release."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: int
    verdict: Verdict
    reason: str = ""
    live: int | None = Field(None, description="The release that is live afterwards.")
    at: datetime
    seconds: dict[str, float] = Field(default_factory=dict, description="Step → seconds.")
