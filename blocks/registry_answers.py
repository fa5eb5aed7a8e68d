"""What registries say when they refuse, in the words of the engine that asked them."""

import re

_DENIED = re.compile(
    r"\b(unauthorized|denied|authentication required|no basic auth credentials)\b"
    r"|(?<![\w.:/-])40[13](?![\w/-]|\.\d)",  # a status; not part of a port, an address, a digest, a uuid
    re.IGNORECASE,
)
_ABSENT = re.compile(
    r"\b(manifest|name) unknown\b|manifest for \S+ not found|repository does not exist|: not found\b",
    re.IGNORECASE,
)


def is_denied(said: str) -> bool:
    """Whether the login is what is wrong: the same again changes nothing."""
    return bool(_DENIED.search(said))


def is_absent(said: str) -> bool:
    """Whether there is no such image. Docker Hub says so of what the login may not see, too."""
    return bool(_ABSENT.search(said))
