"""What a person sees of set-up: each step as it goes on, and what it did."""

import time
from collections.abc import Callable

from rich.console import Console


class SetUp:
    """One line a step; on a terminal a spinner while the step lasts."""

    def __init__(self) -> None:
        self.console = Console(soft_wrap=True, highlight=False, markup=False)

    def step(self, name: str, work: Callable[[], str]) -> None:
        """Do the step; `work` returns in a few words what it did."""
        started = time.monotonic()
        with self.console.status(f"  {name} …"):  # prints nothing where there is no terminal
            done = work()
        self.console.print(f"  {name:<24} {done:<44} {time.monotonic() - started:6.1f} s")
