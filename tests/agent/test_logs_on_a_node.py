"""The real agent follows real containers: the lines of one that was replaced are in the store."""

import time
from collections.abc import Callable

import pytest

from tests.agent.logs import contiguous, stored
from tests.conftest import LocalNode

pytestmark = pytest.mark.containers


def wait(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it has not come true"
        time.sleep(0.05)


@pytest.mark.fault(28)
def test_the_last_lines_of_a_replaced_container_are_in_the_store(node: LocalNode) -> None:
    store = node.target.home / "store"
    node.confirmed(node.release())
    node.confirmed(node.release())
    wait(lambda: any(one.header.origin.release == 1 for one in stored(store)))
    found = [one for one in stored(store) if one.header.origin.release == 1]
    assert contiguous(found)
    origin = found[0].header.origin
    assert (origin.service, origin.environment, origin.node) == ("sample", "local", node.target.node)
    assert b'"stream":"' in found[-1].raw
