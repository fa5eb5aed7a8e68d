"""List filters: `status = RUNNING`, `labels.env:prod*`, `(a = 1) AND NOT (b eq "x.*")`."""

import fnmatch
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sandbox.errors import invalid
from sandbox.routing import Json

Test = Callable[[Json], bool]
TOKEN = re.compile(
    r"\s*(?:(?P<bracket>[()])|(?P<sign>!=|<=|>=|=|<|>|:)|\"(?P<quoted>(?:[^\"\\]|\\.)*)\""
    r"|'(?P<single>[^']*)'|(?P<word>[^\s()=!<>:\"']+))"
)
WORDS = {"eq", "ne"}
NUMERIC: dict[str, Callable[[float, float], bool]] = {
    "<": float.__lt__,
    "<=": float.__le__,
    ">": float.__gt__,
    ">=": float.__ge__,
}


@dataclass(frozen=True)
class Token:
    """One token; a quoted one is never a keyword."""

    text: str
    literal: bool = False


def parse(expression: str) -> Test:
    """A test for resources. Raises 400 at what is no filter."""
    try:
        tokens = list(_tokens(expression))
        test, rest = _either(tokens)
    except IndexError:
        raise _wrong(expression) from None
    if rest:
        raise _wrong(expression)
    return test


def _wrong(expression: str) -> Exception:
    return invalid(f"Invalid value for field 'filter': '{expression}'. Invalid list filter expression.")


def _tokens(expression: str) -> Iterator[Token]:
    place = 0
    text = expression.rstrip()
    while place < len(text):
        match = TOKEN.match(text, place)
        if not match:
            raise _wrong(expression)
        place = match.end()
        kind = match.lastgroup or ""
        yield Token(re.sub(r"\\(.)", r"\1", match[kind]), literal=kind in {"quoted", "single"})


def _is(tokens: list[Token], *texts: str) -> bool:
    return bool(tokens) and not tokens[0].literal and tokens[0].text in texts


def _either(tokens: list[Token]) -> tuple[Test, list[Token]]:
    left, tokens = _all(tokens)
    while _is(tokens, "OR"):
        right, tokens = _all(tokens[1:])
        left = _or(left, right)
    return left, tokens


def _all(tokens: list[Token]) -> tuple[Test, list[Token]]:
    left, tokens = _one(tokens)
    while tokens and not _is(tokens, "OR", ")"):
        right, tokens = _one(tokens[1:] if _is(tokens, "AND") else tokens)
        left = _and(left, right)
    return left, tokens


def _one(tokens: list[Token]) -> tuple[Test, list[Token]]:
    if _is(tokens, "NOT"):
        inner, rest = _one(tokens[1:])
        return lambda resource: not inner(resource), rest
    if _is(tokens, "("):
        inner, rest = _either(tokens[1:])
        if not _is(rest, ")"):
            raise IndexError
        return inner, rest[1:]
    field, sign, value = tokens[0].text, tokens[1].text, tokens[2].text
    if sign not in {"=", "!=", ":", *NUMERIC, *WORDS} or tokens[1].literal:
        raise IndexError
    return _comparison(field, sign, value), tokens[3:]


def _or(left: Test, right: Test) -> Test:
    return lambda resource: left(resource) or right(resource)


def _and(left: Test, right: Test) -> Test:
    return lambda resource: left(resource) and right(resource)


def _comparison(field: str, sign: str, value: str) -> Test:
    def test(resource: Json) -> bool:
        found = _lookup(resource, field.split("."))
        if sign in {"!=", "ne"}:
            return not any(_equal(one, value, sign) for one in found)
        return any(_holds(one, sign, value) for one in found)

    return test


def _holds(found: str, sign: str, value: str) -> bool:
    if sign in NUMERIC:
        try:
            return NUMERIC[sign](float(found), float(value))
        except ValueError:
            return False
    if sign == ":":
        return fnmatch.fnmatchcase(found, value) if "*" in value else value in found
    return _equal(found, value, sign)


def _equal(found: str, value: str, sign: str) -> bool:
    if sign in WORDS:
        return re.fullmatch(value, found) is not None
    # Links may be given by their last part alone, as gcloud's users do: zone=europe-west1-b.
    return found == value or (found.startswith("https://") and found.rpartition("/")[2] == value)


def _lookup(found: object, parts: list[str]) -> list[str]:
    """Every value at the field's path, as the strings they are compared by."""
    if isinstance(found, list):
        return [text for one in found for text in _lookup(one, parts)]
    if not parts:
        return [str(found).lower() if isinstance(found, bool) else str(found)]
    if not isinstance(found, dict):
        return []
    # A label's key may hold dots.
    for split in range(len(parts), 0, -1):
        key = ".".join(parts[:split])
        if key in found:
            return _lookup(found[key], parts[split:])
    return []
