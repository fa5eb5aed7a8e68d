"""The real edge tells the real agent of every answer."""

import json
import subprocess

import httpx
import pytest

from tests.agent.test_logs_on_a_node import wait
from tests.conftest import LocalNode

pytestmark = pytest.mark.containers


def counted(node: LocalNode) -> dict[int, tuple[int, int]]:
    """Release → requests, and how many have a time."""
    argv = ["docker", "exec", f"{node.target.node}-agent", "sh", "-c", "cat /state/traffic/*.json"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    found: dict[int, tuple[int, int]] = {}
    for line in done.stdout.replace("}{", "}\n{").splitlines():
        for tally in json.loads(line).get("local", {}).values():
            requests, timed = found.get(tally["release"], (0, 0))
            found[tally["release"]] = (requests + tally["requests"], timed + sum(tally["times"].values()))
    return found


def test_every_answer_is_counted_for_the_release_that_gave_it(node: LocalNode) -> None:
    for requests in (20, 30):
        node.confirmed(node.release())
        for _ in range(requests):
            httpx.get(node.target.url(node.port)).raise_for_status()
        node.target.status("sample")  # is asked of the edge as well, and is no user's request
    wait(lambda: counted(node) == {1: (20, 20), 2: (30, 30)})
