"""What let a release through, as its record keeps it."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Proof(_Record):
    """Where the same image and model were good before."""

    environment: str
    number: int
    confirmed: datetime
    run: str = Field("", description="The flow run that released it there: its page has tests and checks.")
    tests: int = Field(0, ge=0, exclude_if=lambda tests: not tests, description="How many it has passed.")
    checks: dict[str, float] = Field(
        default_factory=dict,
        description="Smoke check → p95 in seconds, asked there for this release.",
    )


class Approval(_Record):
    """Who said yes, when and why. The name is what that person gave: Prefect's own server knows no users."""

    by: str
    reason: str = ""
    at: datetime
