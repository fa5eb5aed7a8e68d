"""A node's edge as users meet it."""

import httpx

ANSWER_SECONDS = 5.0


def by_name(host: str) -> dict[str, str]:
    """The header that asks a node for the service of this name; none: the port says which it is."""
    return {"Host": host} if host else {}


def no_answer(url: str, path: str | None, host: str = "") -> str:
    """Why nobody answers there, asked by that name; empty where somebody does, whatever the answer is."""
    try:
        httpx.get(f"{url}{path or '/'}", headers=by_name(host), timeout=ANSWER_SECONDS)
    except httpx.HTTPError as error:
        return str(error) or type(error).__name__
    return ""
