"""Whether GitHub has sent this: the HMAC over the raw body."""

import hashlib
import hmac
import re
from collections.abc import Iterable

_FORM = re.compile(r"sha256=[0-9a-f]{64}")


def sign(secret: str, body: bytes) -> str:
    """The header `X-Hub-Signature-256` as GitHub makes it."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def is_signed(body: bytes, signature: str, secrets: Iterable[str]) -> bool:
    """Whether one of the secrets made the signature; takes as long whichever it was."""
    if not _FORM.fullmatch(signature):
        return False
    # All of them: stopping at the first that fits would tell which it was.
    fits = [hmac.compare_digest(sign(secret, body), signature) for secret in secrets if secret]
    return True in fits
