"""A node's edge as users meet it."""

import httpx

ANSWER_SECONDS = 5.0


def by_name(host: str) -> dict[str, str]:
    """The header that asks a node for the service of this name; none: the port says which it is."""
    return {"Host": host} if host else {}


def for_tls(host: str) -> dict[str, str]:
    """What has the node show the certificate of this name, and has that held against it."""
    return {"sni_hostname": host} if host else {}


def no_answer(url: str, path: str | None, host: str = "") -> str:
    """Why nobody answers there, asked by that name; empty where somebody does, whatever the answer is."""
    try:
        with httpx.Client(headers=by_name(host), timeout=ANSWER_SECONDS) as client:
            client.get(f"{url}{path or '/'}", extensions=for_tls(host))
    except httpx.HTTPError as error:
        return str(error) or type(error).__name__
    return ""
