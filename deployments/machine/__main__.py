"""`python -m deployments.machine`: get this machine ready for releases and for the tests."""

import sys

from deployments.machine.home import Home
from deployments.machine.prepare import prepare
from deployments.set_up import SetUp
from releases.problem import Problem

if __name__ == "__main__":
    try:
        prepare(Home(), SetUp())
    except Problem as problem:
        print(f"error: {problem}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
