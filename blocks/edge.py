"""A node's edge as users meet it."""

from typing import Any

import httpx

from releases.acme import CHALLENGES

ANSWER_SECONDS = 5.0


def asking(host: str, **settings: Any) -> httpx.Client:
    """A client that asks a node for the service of this name; without one the port says which it is.

    With TLS the node shows the certificate of that name, which is held against it.
    """
    if not host:
        return httpx.Client(**settings)

    def by_name(request: httpx.Request) -> None:
        request.extensions = {**request.extensions, "sni_hostname": host}

    return httpx.Client(headers={"Host": host}, event_hooks={"request": [by_name]}, **settings)


def no_challenge(url: str, token: str, thumbprint: str) -> str:
    """Why ACME's challenge is not answered there for this account; empty where it is, whatever the name."""
    expected = f"{token}.{thumbprint}"
    try:
        answer = httpx.get(f"{url}{CHALLENGES}{token}", timeout=ANSWER_SECONDS)
    except httpx.HTTPError as error:
        return str(error) or type(error).__name__
    right = answer.is_success and answer.text.strip() == expected
    return "" if right else f"status {answer.status_code}: {answer.text.strip()[:100]}"


def no_answer(url: str, path: str | None, host: str = "") -> str:
    """Why nobody answers there, asked by that name; empty where somebody does, whatever the answer is."""
    try:
        with asking(host, timeout=ANSWER_SECONDS) as client:
            client.get(f"{url}{path or '/'}")
    except httpx.HTTPError as error:
        return str(error) or type(error).__name__
    return ""
