"""Whether `rest.rows` has found a place for rows in any answer: a mistyped one finds none, in silence."""

from typing import Any

from releases.data_source import RestApi
from releases.problem import Failed

SHOWN_KEYS = 12


class RowSelector:
    """Called with each answer, before its rows are taken."""

    def __init__(self, rest: RestApi) -> None:
        self.rest = rest
        self.matched = False
        self.got = ""

    def __call__(self, response: Any, *_: object, **__: object) -> None:
        """Note what an answer has; an error's is left to who handles errors."""
        from dlt.common import jsonpath  # noqa: PLC0415

        body = response.json() if response.ok and response.content else None
        if not body:
            return
        if jsonpath.find_values(self.rest.rows, body):
            self.matched = True
        elif not self.got:
            keys = ", ".join(list(body)[:SHOWN_KEYS]) if isinstance(body, dict) else type(body).__name__
            self.got = f"an answer with {keys}"

    def check(self, name: str) -> None:
        """Answers came, and in none of them was what is asked for. Raises Failed."""
        if self.got and not self.matched:
            raise Failed(
                f"no answer of {name} has anything at `rest.rows: {self.rest.rows}`",
                where=self.rest.url.partition("?")[0],
                expected="a JSONPath to the list of rows",
                got=self.got,
                next_step="mend `rows` of the source",
            )
