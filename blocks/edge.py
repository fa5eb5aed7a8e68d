"""A node's edge as users meet it."""

from typing import Any

import httpx

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


def no_answer(url: str, path: str | None, host: str = "") -> str:
    """Why nobody answers there, asked by that name; empty where somebody does, whatever the answer is."""
    try:
        with asking(host, timeout=ANSWER_SECONDS) as client:
            client.get(f"{url}{path or '/'}")
    except httpx.HTTPError as error:
        return str(error) or type(error).__name__
    return ""
