"""A release on trial, and waiting for what its nodes say of it."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from blocks.targets.target import Target
from flows.turn import stop_if_cancelled
from releases.release import Release
from releases.status import ServiceStatus

NODE_SLACK = 30.0


@dataclass(frozen=True)
class Trial:
    """A release that stands as a candidate on some of the nodes."""

    target: Target
    release: Release
    generation: int


def await_node(trial: Trial, arrived: Callable[[ServiceStatus], bool], seconds: float) -> ServiceStatus:
    """Wait until every node says so. Raises Failed when one takes it back, Unreachable, Cancelled."""
    looked = 0.0

    def check() -> None:
        nonlocal looked
        if time.monotonic() - looked > 1:  # the server is asked once a second, the node much more often
            looked = time.monotonic()
            stop_if_cancelled()

    return trial.target.wait_for(trial.release.service, trial.generation, arrived, seconds, check)
