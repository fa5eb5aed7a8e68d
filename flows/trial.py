"""A release on trial, and waiting for what its nodes say of it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from prefect import get_run_logger

from blocks.targets.target import Target, no_check
from flows.turn import stop_if_cancelled
from releases.problem import Problem, Superseded
from releases.release import Release
from releases.status import ServiceStatus

NODE_SLACK = 30.0
RENEWALS = 3  # in a window; one that does not get through is no loss


@dataclass
class Renewal:
    """Keeps the nodes that serve the candidate on trial, for as long as a later wave or the bake takes.

    Pulling, fetching and starting have their own limits, which are longer than a window, and a bake may be as
    long as one likes. A controller that dies renews nothing, so the window stays what it is.
    """

    target: Target
    service: str
    generation: int
    window: float  # seconds
    last: float = field(default_factory=time.monotonic)

    def __call__(self) -> None:
        """Renew if it is time. Raises Superseded."""
        if time.monotonic() - self.last < self.window / RENEWALS:
            return
        self.last = time.monotonic()
        try:
            self.target.renew(self.service, self.generation)
        except Superseded:
            raise
        except Problem as problem:
            get_run_logger().warning("the confirm window was not renewed: %s", problem)


@dataclass(frozen=True)
class Trial:
    """A release that stands as a candidate on some of the nodes. `keep`: what keeps it on the others."""

    target: Target
    release: Release
    generation: int
    keep: Callable[[], None] = no_check

    def go_on(self) -> None:
        """To be called while waiting. Raises Cancelled, Superseded."""
        stop_if_cancelled()
        self.keep()


def baking(trial: Trial, seconds: float) -> Trial:
    """The trial as it is kept for so long, from now on: where the window is too short, that is renewed."""
    window = trial.release.confirm_window
    if seconds < window / RENEWALS:
        return trial
    mine = Renewal(trial.target, trial.release.service, trial.generation, window, last=float("-inf"))

    def keep() -> None:
        trial.keep()
        mine()

    return replace(trial, keep=keep)


def await_node(trial: Trial, arrived: Callable[[ServiceStatus], bool], seconds: float) -> ServiceStatus:
    """Wait until every node says so. Raises Failed when one takes it back, Unreachable, Cancelled."""
    return trial.target.wait_for(trial.release.service, trial.generation, arrived, seconds, trial.go_on)
