"""A small shop's REST API: real HTTP, pages, a token, a limit on requests, files; misbehaves on demand."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.http_server import Answer, Request, json_answer, serving

START = datetime(2026, 11, 1, tzinfo=UTC)
PAGE = 100


def order(number: int, **more: Any) -> dict[str, Any]:
    """One every ten minutes."""
    at = START + timedelta(minutes=10 * number)
    return {"id": number, "at": at.isoformat(), "total": number * 1.5, "items": ["a", "b"], **more}


@dataclass
class Shop:
    orders: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    pages: str = "json_link"  # how it hands out what does not fit into one answer
    token: str = ""
    login: tuple[str, str] | None = None  # a header, and what it must be
    trouble: deque[tuple[int, dict[str, str]]] = field(default_factory=deque)
    requests: list[str] = field(default_factory=list)
    address: str = ""

    def sell(self, first: int, last: int, **more: Any) -> None:
        self.orders += [order(number, **more) for number in range(first, last)]

    def answer(self, query: dict[str, str]) -> Answer:
        """A page of orders, as `pages` says."""
        if self.pages == "json_link":
            return json_answer(self.page(query))
        start, size = int(query.get("offset", query.get("cursor", 0))), int(query.get("limit", PAGE))
        following = start + size if start + size < len(self.orders) else None
        if self.pages == "single_page":
            return json_answer({"data": self.orders})
        said = json_answer(
            {"data": self.orders[start : start + size], "cursors": {"next": following and str(following)}}
        )
        if self.pages == "header_link" and following:
            said.headers["Link"] = f'<{self.address}/orders?offset={following}>; rel="next"'
        return said

    def page(self, query: dict[str, str]) -> dict[str, Any]:
        found = [one for one in self.orders if one["at"] >= query.get("since", "")]
        if "until" in query:
            found = [one for one in found if one["at"] < query["until"]]
        number = int(query.get("page", 1))
        shown = found[(number - 1) * PAGE : number * PAGE]
        more = {key: value for key, value in query.items() if key != "page"}
        following = "&".join(f"{key}={value.replace('+', '%2B')}" for key, value in more.items())
        there_is_more = number * PAGE < len(found)
        return {
            "data": shown,
            "next": f"{self.address}/orders?{following}&page={number + 1}" if there_is_more else None,
        }


@contextmanager
def shop() -> Iterator[Shop]:
    made = Shop()

    def answer(request: Request) -> Answer:
        made.requests.append(request.path)
        address = urlsplit(request.path)
        if made.trouble:
            status, headers = made.trouble.popleft()
            return Answer(status=status, headers=headers)
        if made.token and request.headers.get("Authorization") != f"Bearer {made.token}":
            return Answer(status=401)
        if made.login and request.headers.get(made.login[0]) != made.login[1]:
            return Answer(status=401)
        if address.path in made.files:
            return Answer(made.files[address.path])
        return made.answer(dict(parse_qsl(address.query)))

    with serving(answer) as made.address:
        yield made
