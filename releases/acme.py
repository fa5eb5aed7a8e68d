"""Certificates by ACME (RFC 8555): who issues for an environment, which are wanted, and when. Plain rules."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from releases.spec import Run

CHALLENGES = "/.well-known/acme-challenge/"  # RFC 8555 section 8.3; agents answer what comes below it
LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
SHARE_LEFT = 3  # renewed when less than a third of its life is left, as Let's Encrypt asks for


class Issuer(BaseModel):
    """Who issues an environment's certificates. Saying so agrees to that authority's terms of service."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    contact: str = Field(
        "", pattern=r"^([^@\s:]+@[^@\s]+)?$", description="An e-mail address that the authority may write to."
    )
    directory: str = Field(LETS_ENCRYPT, pattern=r"^https://\S+$", description="Let's Encrypt if not given.")
    port: int = Field(
        80,
        ge=1,
        le=65535,
        description="The edge's port that gets what is asked at port 80, where the authority comes.",
    )


@dataclass(frozen=True)
class Held:
    """A certificate that is there, without its key."""

    names: tuple[str, ...]
    issuer: str
    begins: datetime
    ends: datetime


@dataclass(frozen=True)
class Want:
    """What one release says: its names, and the secret with the certificate for them."""

    service: str
    secret: str
    names: tuple[str, ...]
    fetched: bool


@dataclass(frozen=True)
class Wanted:
    """One certificate: the secret it lies in, and every name it is to be for."""

    secret: str
    names: tuple[str, ...]
    services: tuple[str, ...]


def account_of(environment: str) -> str:
    """The secret with the environment's account key."""
    return f"{environment}-acme-account"


def want(service: str, run: Run, environment: str) -> Want:
    """What a release with these settings says."""
    return Want(service, run.certificate(environment), run.names(environment), run.fetched(environment))


def wanted(wants: Iterable[Want]) -> list[Wanted]:
    """What is to be fetched; services that name one secret share one certificate."""
    by_secret: dict[str, list[Want]] = {}
    for one in wants:
        by_secret.setdefault(one.secret, []).append(one)
    return [
        Wanted(
            secret,
            tuple(sorted({name for one in these for name in one.names})),
            tuple(sorted({one.service for one in these})),
        )
        for secret, these in sorted(by_secret.items())
        if any(one.fetched for one in these)
    ]


def unfit(names: Iterable[str], held: Held | None, now: datetime) -> str:
    """Why a node would not serve these names with it; empty: it would."""
    if held is None:
        return "there is none"
    missing = sorted(set(names) - set(held.names))
    if missing:
        return f"it is not for {', '.join(missing)}"
    return f"it ended on {held.ends:%Y-%m-%d}" if held.ends <= now else ""


def ended(held: Held | None, now: datetime) -> bool:
    """Whether nobody can use it any more; what is no certificate is not judged."""
    return held is not None and held.ends <= now


def due(names: Iterable[str], held: Held | None, now: datetime) -> str:
    """Why it is to be fetched anew; empty: it is good for a while."""
    why = unfit(names, held, now)
    if why or held is None:
        return why
    left, life = held.ends - now, held.ends - held.begins
    return f"it ends on {held.ends:%Y-%m-%d}" if left < life / SHARE_LEFT else ""
