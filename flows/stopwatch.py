"""How long each step of a flow took."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Step → seconds, in the order the steps ended."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a block."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = round(time.monotonic() - started, 3)
