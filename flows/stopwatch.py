"""How long each step of a flow took, and how far it is."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum

from prefect import get_run_logger

STEPS = logging.getLogger("model_deploy.steps")


class Step(StrEnum):
    """A step of a flow, as people see it, in the order of a release; a promotion has two of its own."""

    check_out = "check out"
    reach = "reach the node"
    certificate = "certificate"
    look_for_image = "look for the image"
    tests_and_build = "tests and build"
    push = "push"
    look_at_source = "look at the source"
    copy = "copy"
    deploy = "deploy"
    start = "start"
    smoke_test = "smoke test"
    canary = "canary"
    switch = "switch"
    smoke_test_after = "smoke test after"
    bake = "bake"
    confirm = "confirm"


def say(text: str, level: int = logging.INFO) -> None:
    """In the UI, and where the steps are printed."""
    STEPS.info("%s", text)
    get_run_logger().log(level, "%s", text)


def say_loudly(text: str) -> None:
    """What a person should know who did not ask."""
    say(text, logging.WARNING)


class Stopwatch:
    """Step → seconds, in the order the steps first ended; of a step that comes again, the sum.

    `on_start` is told each step as it begins.
    """

    def __init__(self, on_start: Callable[[Step], None]) -> None:
        self.seconds: dict[str, float] = {}
        self.on_start = on_start

    @contextmanager
    def step(self, name: Step) -> Iterator[None]:
        """Time a block."""
        self.on_start(name)
        started, ended = time.monotonic(), "failed"
        try:
            yield
            ended = "done"
        finally:
            seconds = time.monotonic() - started
            self.seconds[name.value] = round(self.seconds.get(name.value, 0.0) + seconds, 3)
            STEPS.info("%-20s %-6s %8.2f s", name, ended, seconds)
            get_run_logger().info("%s: %s in %.2f s", name, ended, seconds)
