"""`python -m deployments.machine`: get this machine ready for releases and for the tests."""

import sys

from deployments.machine.home import Home
from deployments.machine.prepare import prepare
from releases.problem import Problem


def say(step: str, done: str, seconds: float) -> None:
    """One line a step."""
    print(f"  {step:<24} {done:<40} {seconds:6.1f} s", flush=True)  # noqa: T201 - this is the command's output


if __name__ == "__main__":
    try:
        prepare(Home(), say)
    except Problem as problem:
        print(f"error: {problem}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
