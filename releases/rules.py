"""The rules of an environment: what must be true before a release reaches it, and who is told."""

from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from releases.duration import Duration
from releases.freeze import FreezeWindow
from releases.gate import well_formed
from releases.spec import Name, Seconds

WEEK = 7 * 86_400.0


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ApprovalRule(_Section):
    """A person says yes before anything is touched."""

    expires: Duration = Field(86_400, ge=1, le=4 * WEEK, description="Seconds a person has to answer.")


class Hook(_Section):
    """A call before or after a deploy: an HTTP POST, or a Prefect deployment that is run."""

    url: str | None = Field(None, pattern=r"^https?://", description="Is sent JSON; answers 2xx.")
    deployment: str | None = Field(None, pattern=r"^[^/]+/[^/]+$", description="FLOW/DEPLOYMENT; completes.")
    timeout: Seconds = Field(30, description="Seconds it may take.")

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.url is None) == (self.deployment is None):
            raise ValueError("a hook has a url or a deployment")
        return self

    @property
    def title(self) -> str:
        """How logs, people and GitHub are told of it: the rest of an address is often its secret."""
        if self.url is None:
            return f"deployment {self.deployment}"
        address = urlsplit(self.url)
        return f"{address.scheme}://{address.netloc.rpartition('@')[2]}"


class Hooks(_Section):
    """What is called around a deploy."""

    before: tuple[Hook, ...] = Field((), description="One that fails refuses the release.")
    after: tuple[Hook, ...] = Field((), description="Also when it failed; one that fails is only warned of.")


class Rules(_Section):
    """All of them; without any, a release goes straight on."""

    promotes_from: tuple[Name, ...] = Field((), description="Environments whose releases may come here.")
    gates: tuple[Annotated[str, AfterValidator(well_formed)], ...] = Field(
        (), description="Comparisons of the model's metrics, as in releases.gate."
    )
    approval: ApprovalRule | None = None
    freeze: tuple[FreezeWindow, ...] = ()
    hooks: Hooks = Field(default_factory=Hooks)
    notify: tuple[str, ...] = Field(
        (), description="Prefect blocks, TYPE/NAME, that are told of failures, reverts and approvals wanted."
    )
