"""The real agent follows real containers: the lines of one that was replaced are in the store."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from blocks.log_follow import LogFollow
from deployments.log_commands import _containers
from tests.agent.logs import contiguous, lines_of, stored
from tests.conftest import LocalNode

pytestmark = pytest.mark.containers


def wait(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it has not come true"
        time.sleep(0.05)


def follow(node: LocalNode) -> list[int]:
    """The releases of the lines that `logs --follow --since` prints, as they come."""
    environment: Any = SimpleNamespace(target=node.target)
    lines = LogFollow(lambda: _containers(environment, "sample"), datetime.now(UTC) - timedelta(hours=1), [])
    seen: list[int] = []

    def read() -> None:
        for line in lines.lines():
            seen.append(line.release)
            if line.release == 2:
                return

    threading.Thread(target=read, daemon=True).start()
    return seen


@pytest.mark.fault(28)
def test_the_last_lines_of_a_replaced_container_are_in_the_store(node: LocalNode) -> None:
    store = node.target.home / "store"
    node.confirmed(node.release("says goodbye"))
    seen = follow(node)
    wait(lambda: 1 in seen)
    node.confirmed(node.release())
    wait(lambda: 2 in seen)  # `logs --follow` goes on with the container that took over
    wait(lambda: "goodbye 1000" in lines_of(1, store))
    goodbyes = [f"goodbye {number}" for number in range(1, 1001)]
    assert lines_of(1, store) == ["starting says goodbye", *goodbyes], "said on SIGTERM, in the last moment"
    found = [one for one in stored(store) if one.header.origin.release == 1]
    assert contiguous(found)
    origin = found[0].header.origin
    assert (origin.service, origin.environment, origin.node) == ("sample", "local", node.target.node)
    assert b'"stream":"' in found[-1].raw
