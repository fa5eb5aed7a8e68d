"""How much memory work takes, in a process of its own."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.killing import PROCESSES, SECONDS


def megabytes(work: Callable[..., None], *given: Any) -> float:
    """The most that the process had beyond what it began with. `work` is a module's own function."""
    took = PROCESSES.Value("d", -1.0)
    process = PROCESSES.Process(target=_measured, args=[took, work, *given])
    process.start()
    process.join(SECONDS)
    assert process.exitcode == 0, f"it ended with {process.exitcode}"
    return float(took.value)


def _measured(took: Any, work: Callable[..., None], *given: Any) -> None:
    Path("/proc/self/clear_refs").write_text("5")  # the highest so far is forgotten, proc(5)
    before = _highest()
    work(*given)
    took.value = _highest() - before


def _highest() -> float:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 1024
