"""Who calls: bearer tokens that expire."""

import secrets
from dataclasses import dataclass, field

from sandbox.errors import ApiError


@dataclass
class Identities:
    """The tokens given out. An identity is an IAM member such as `serviceAccount:a@b`."""

    tokens: dict[str, tuple[str, float]] = field(default_factory=dict)

    def issue(self, member: str, expires: float) -> str:
        """Make a new token."""
        token = f"ya29.sandbox-{secrets.token_urlsafe(24)}"
        self.tokens[token] = (member, expires)
        return token

    def caller(self, header: str | None, now: float) -> str:
        """Whom the Authorization header speaks for; 401 if nobody."""
        scheme, _, token = (header or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise ApiError(401, "required", "Request is missing required authentication credential.")
        member, expires = self.tokens.get(token.strip(), ("", 0.0))
        if now >= expires:
            raise ApiError(401, "authError", "Request had invalid authentication credentials.")
        return member
