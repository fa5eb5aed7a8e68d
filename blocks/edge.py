"""A node's edge as users meet it."""

import httpx

ANSWER_SECONDS = 5.0


def no_answer(url: str, path: str | None) -> str:
    """Why nobody answers there; empty where somebody does, whatever the answer is."""
    try:
        httpx.get(f"{url}{path or '/'}", timeout=ANSWER_SECONDS)
    except httpx.HTTPError as error:
        return str(error) or type(error).__name__
    return ""
