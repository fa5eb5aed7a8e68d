"""Work that is killed at random points, in a process of its own."""

import multiprocessing
import random
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

PROCESSES = multiprocessing.get_context(
    "forkserver"
)  # a fork is quick: it imports nothing (tests/conftest.py)
LET_THROUGH = 10  # one in so many: what is killed leaves work behind, and the machine may have become slower
SECONDS = 120


class Killer:
    """Kills at a random fraction of what the same work last took when it was let through."""

    def __init__(self) -> None:
        seed = random.randrange(1 << 32)
        sys.stdout.write(f"seed {seed}\n")
        self.dice = random.Random(seed)
        self.runs = self.killed = 0
        self.lasts = 0.0

    def run(self, work: Callable[..., None], *given: Any) -> bool:
        """Whether it was killed. `work` is a module's own function; it must not fail."""
        alive = self.runs % LET_THROUGH == 0
        took = PROCESSES.Value("d", 0.0)
        after = 0.0 if alive else max(1e-6, self.dice.random() * self.lasts)
        process = PROCESSES.Process(target=_timed, args=[after, took, work, *given])
        process.start()
        process.join(SECONDS)
        self.runs += 1
        if process.exitcode == -signal.SIGALRM:
            self.killed += 1
            return True
        assert process.exitcode == 0, f"it ended with {process.exitcode}"
        self.lasts = took.value
        return False


def _timed(after: float, took: Any, work: Callable[..., None], *given: Any) -> None:
    """The process's own clock kills it, as SIGKILL would: nothing is cleaned up, and nobody has to be quick."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    started = time.monotonic()
    if after:
        signal.setitimer(signal.ITIMER_REAL, after)
    work(*given)
    signal.setitimer(signal.ITIMER_REAL, 0)
    took.value = time.monotonic() - started
