"""A bake may be longer than the confirm window: it is renewed for as long as the controller lives."""

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from flows.deploying import watch_it
from flows.trial import Trial
from releases.problem import Failed


class Node:
    """Takes the candidate back by itself once its window is over, as the agent does."""

    def __init__(self, window: float) -> None:
        self.window, self.since, self.renewed = window, time.monotonic(), 0

    def renew(self, _service: str, _generation: int) -> None:
        self.since, self.renewed = time.monotonic(), self.renewed + 1

    def wait_for(
        self,
        _service: str,
        _generation: int,
        arrived: Callable[[Any], bool],
        _: float,
        check: Callable[[], None],
    ) -> None:
        while not arrived(None):
            if time.monotonic() - self.since > self.window:
                raise Failed("not confirmed in time")
            check()
            time.sleep(0.005)


@pytest.mark.parametrize(("bake", "window", "renews"), [(0.6, 0.3, True), (0.05, 30, False)])
def test_a_bake_longer_than_the_window_renews_it(bake: float, window: float, renews: bool) -> None:
    node, release = Node(window), SimpleNamespace(service="iris", confirm_window=window)
    started = time.monotonic()
    watch_it.fn(Trial(node, release, 1), bake)  # type: ignore[arg-type]
    assert time.monotonic() - started >= bake
    assert (node.renewed > 0) is renews
