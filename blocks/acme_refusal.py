"""What a certificate authority refuses, in the words of whoever must mend it (RFC 8555 section 6.7)."""

from collections.abc import Sequence
from dataclasses import dataclass

from acme import messages

from releases.acme import CHALLENGES
from releases.problem import Problem, Refused, Unreachable

LATER = "model-deploy certificates --renew"


@dataclass(frozen=True)
class Words:
    """`{names}` and `{name}`, the first of them, are filled in."""

    what: str
    expected: str = ""
    next_step: str = ""


ELSEWHERE = Words(
    "the certificate authority was answered by somebody else than the edge at {names}",
    "the name leads to the environment's nodes, or to what stands in front of them",
    "dig +short {name}",
)
KINDS = {
    "dns": Words(
        "the certificate authority finds no address for {names}",
        "a DNS record, A or AAAA, that leads to the environment's edge",
        "dig +short {name}",
    ),
    "connection": Words(
        "the certificate authority does not reach {names}",
        "the name leads to the environment's edge, whose port 80 is open to everybody",
        f"curl -i http://{{name}}{CHALLENGES}x",
    ),
    "unauthorized": ELSEWHERE,
    "incorrectResponse": ELSEWHERE,
    "caa": Words(
        "the certificate authority may not issue for {names}",
        "no CAA record, or one that allows this authority",
        "dig CAA {name}",
    ),
    "rejectedIdentifier": Words(
        "the certificate authority issues nothing for {names}", "a public name that is yours"
    ),
    "rateLimited": Words("the certificate authority has issued too much for {names} lately"),
}
ITS_OWN = {"serverInternal", "badNonce"}


def not_valid(failed: Sequence[messages.AuthorizationResource], where: str) -> Problem:
    """The names that it could not be shown; the first one's kind is what is told."""
    said: dict[str, messages.Error] = {}
    for one in failed:
        for challenge in one.body.challenges:
            if challenge.error is not None:
                said.setdefault(str(one.body.identifier.value), challenge.error)
    first = next(iter(said.values()), messages.Error())
    kind = first.code or ""
    alike = [name for name, error in said.items() if (error.code or "") == kind]
    got = "; ".join(f"{name}: {_said(error)}" for name, error in said.items())
    return _problem(kind, alike, where, got, "")


def refusal(error: messages.Error, names: Sequence[str], where: str, retry_after: str) -> Problem:
    """An answer that is an error."""
    named = [str(one.identifier.value) for one in (error, *(error.subproblems or ())) if one.identifier]
    got = "; ".join(_said(one) for one in (error, *(error.subproblems or ())))
    kind = error.code or ""
    if kind in ITS_OWN:
        return silent(where, got)
    return _problem(kind, named or names, where, got, retry_after)


def silent(where: str, got: str) -> Unreachable:
    """It cannot be asked now."""
    return Unreachable("the certificate authority does not answer", where, got=got, next_step=LATER)


def _problem(kind: str, names: Sequence[str], where: str, got: str, retry_after: str) -> Refused:
    words = KINDS.get(kind, Words("the certificate authority refuses {names}"))
    filled = {"names": ", ".join(names), "name": next(iter(names), "")}
    when = f"{retry_after} s from now" if retry_after.isdigit() else retry_after
    return Refused(
        words.what.format(**filled),
        where,
        words.expected.format(**filled),
        got,
        words.next_step.format(**filled) or (f"not before {when}: {LATER}" if when else LATER),
    )


def _said(error: messages.Error) -> str:
    """Its own words: the type, and what it says of it."""
    return f"{error.code or error.typ}: {error.detail or error.title or ''}".rstrip(": ")
