"""How long each step of a flow took, and how far it is."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prefect import get_run_logger

STEPS = logging.getLogger("model_deploy.steps")


def say_loudly(text: str) -> None:
    """What a person should know who did not ask: in the UI, and where the steps are printed."""
    STEPS.info("%s", text)
    get_run_logger().warning("%s", text)


class Stopwatch:
    """Step → seconds, in the order the steps first ended; of a step that comes again, the sum.

    `on_start` is told each step as it begins.
    """

    def __init__(self, on_start: Callable[[str], None]) -> None:
        self.seconds: dict[str, float] = {}
        self.on_start = on_start

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a block."""
        self.on_start(name)
        started, ended = time.monotonic(), "failed"
        try:
            yield
            ended = "done"
        finally:
            seconds = time.monotonic() - started
            self.seconds[name] = round(self.seconds.get(name, 0.0) + seconds, 3)
            STEPS.info("%-20s %-6s %8.2f s", name, ended, seconds)
            get_run_logger().info("%s: %s in %.2f s", name, ended, seconds)
