"""The Logging query language, as far as comparisons go: `logName="…" AND (timestamp>="…" OR severity=ERROR)`.

Its rules are in https://cloud.google.com/logging/docs/view/logging-query-language: a space or a new line is
an AND, and OR binds more closely than AND.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from sandbox.errors import ApiError, invalid, not_implemented
from sandbox.routing import Json

Test = Callable[[Json], bool]
TOKEN = re.compile(
    r"\s*(?:(?P<bracket>[()])|(?P<sign>=~|!~|!=|<=|>=|=|<|>|:)|(?P<text>(?:\"(?:[^\"\\]|\\.)*\"|[^\s()=!<>:~\"]+)+))"
)
PART = re.compile(r"\"((?:[^\"\\]|\\.)*)\"|([^.\"]+)")
TIMES = {("timestamp",), ("receiveTimestamp",)}
ORDERED: dict[str, Callable[[str, str], bool]] = {
    "=": str.__eq__,
    "<": str.__lt__,
    "<=": str.__le__,
    ">": str.__gt__,
    ">=": str.__ge__,
}


@dataclass(frozen=True)
class Token:
    """One token: a bracket, a sign, or a text that may be quoted."""

    kind: str
    text: str


def parse(expression: str) -> Test:
    """A test for entries. Raises 400 at what is no filter, 501 at what is not done here."""
    tokens = list(_tokens(expression))
    if not tokens:
        return lambda _: True
    try:
        test, rest = _all(tokens)
    except (IndexError, ValueError, re.error):
        raise _wrong(expression) from None
    if rest:
        raise _wrong(expression)
    return test


def sortable(time: str) -> str:
    """A time as the APIs write it, so that it sorts as text. Raises ValueError."""
    whole, _, fraction = time.removesuffix("Z").partition(".")
    if not time.endswith("Z"):
        raise not_implemented(f"a time that is not in UTC: {time}")
    return f"{datetime.fromisoformat(whole):%Y-%m-%dT%H:%M:%S}.{fraction:0<9}Z"


def _wrong(expression: str) -> ApiError:
    return invalid(f"Unparseable filter: {expression}")


def _tokens(expression: str) -> Iterator[Token]:
    place, text = 0, expression.rstrip()
    while place < len(text):
        match = TOKEN.match(text, place)
        if not match:
            raise _wrong(expression)
        place = match.end()
        kind = match.lastgroup or ""
        yield Token(kind, match[kind])


def _is(tokens: list[Token], *words: str) -> bool:
    return bool(tokens) and tokens[0].text in words


def _all(tokens: list[Token]) -> tuple[Test, list[Token]]:
    tests: list[Test] = []
    while tokens and not _is(tokens, ")"):
        test, tokens = _either(tokens[1:] if tests and _is(tokens, "AND") else tokens)
        tests.append(test)
    if not tests:
        raise IndexError
    return lambda entry: all(test(entry) for test in tests), tokens


def _either(tokens: list[Token]) -> tuple[Test, list[Token]]:
    one, tokens = _one(tokens)
    tests = [one]
    while _is(tokens, "OR"):
        one, tokens = _one(tokens[1:])
        tests.append(one)
    return lambda entry: any(test(entry) for test in tests), tokens


def _one(tokens: list[Token]) -> tuple[Test, list[Token]]:
    if _is(tokens, "NOT"):
        inner, rest = _one(tokens[1:])
        return lambda entry: not inner(entry), rest
    if _is(tokens, "("):
        inner, rest = _all(tokens[1:])
        if not _is(rest, ")"):
            raise IndexError
        return inner, rest[1:]
    if len(tokens) < 2 or tokens[1].kind != "sign":  # noqa: PLR2004 - a field and a sign
        raise not_implemented("a filter's words without a comparison, and its functions")
    field, sign, value = tokens[0], tokens[1].text, tokens[2]
    if field.kind != "text" or value.kind != "text":
        raise not_implemented("a filter's list of values")
    return _comparison(tuple(_parts(field.text)), sign, _plain(value.text)), tokens[3:]


def _parts(field: str) -> Iterator[str]:
    """`jsonPayload."a.b".c` is three."""
    for match in PART.finditer(field):
        yield match[1] if match[1] is not None else match[2]


def _plain(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value


def _comparison(field: tuple[str, ...], sign: str, value: str) -> Test:
    if field in TIMES:
        moment, compare = sortable(value), ORDERED[sign]
        return lambda entry: compare(sortable(str(_at(entry, field))), moment)
    if sign in {"=~", "!~"}:
        pattern = re.compile(value)
        return lambda entry: bool(pattern.search(str(_at(entry, field) or ""))) == (sign == "=~")
    if sign == ":":
        return lambda entry: value.casefold() in str(_at(entry, field) or "").casefold()
    if sign == "=":
        return lambda entry: str(_at(entry, field)).casefold() == value.casefold()
    raise not_implemented(f"the comparison {sign} of {'.'.join(field)}")


def _at(entry: Json, field: tuple[str, ...]) -> object:
    found: object = entry
    for part in field:
        found = found.get(part) if isinstance(found, dict) else None
    return found
