"""How long each step of a flow took."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

STEPS = logging.getLogger("model_deploy.steps")


class Stopwatch:
    """Step → seconds, in the order the steps ended."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a block."""
        started, ended = time.monotonic(), "failed"
        try:
            yield
            ended = "done"
        finally:
            self.seconds[name] = round(time.monotonic() - started, 3)
            STEPS.info("%-20s %-6s %8.2f s", name, ended, self.seconds[name])
