"""One shape for everything that is told to a user when something went wrong."""

from dataclasses import dataclass


@dataclass(eq=False)  # not frozen: raising sets __traceback__
class Problem(Exception):  # noqa: N818 - it is read by people as "a problem", never as a class name
    """A failure with what a person needs to act on it; printed without a traceback."""

    what: str
    where: str = ""
    expected: str = ""
    got: str = ""
    next_step: str = ""

    def __str__(self) -> str:
        """Lines in the order a person asks: what, where, expected, got, what to type next."""
        named = {
            "where": self.where,
            "expected": self.expected,
            "got": self.got,
            "next": self.next_step,
        }
        lines = [f"  {name}: {text}" for name, text in named.items() if text]
        return "\n".join([self.what, *lines])


class BadInput(Problem):
    """The user's own mistake: a bad spec, ref, argument. Never retried."""


class Refused(Problem):
    """Not done, on purpose, before anything was touched."""


class Superseded(Problem):
    """A newer request for the same service and environment has taken over."""


class NothingToDo(Superseded):
    """What was asked for is so already."""


class Unreachable(Problem):
    """A system we need does not answer. Retrying may help."""


class Failed(Problem):
    """A step was tried and did not succeed."""


class Cancelled(BaseException):
    """A person has cancelled the run. No failure: nothing that handles those may swallow it."""


def plainly(message: str) -> str:
    """What a validator of ours has said, without what pydantic writes before it."""
    return message.removeprefix("Value error, ")
