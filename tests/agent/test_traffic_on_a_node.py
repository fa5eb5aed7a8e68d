"""The real edge tells the real agent of every answer."""

import json
import subprocess
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from blocks.service_facts import gather
from blocks.store import DirectoryStore
from blocks.targets import local_folders
from releases.edge_traffic import Tally
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


def reported(node: LocalNode) -> dict[int, int]:
    """Release → requests, as `model-deploy report` has them from the store."""
    now, store = datetime.now(UTC), DirectoryStore(path=node.target.home / "store")
    facts = gather(store, "sample", "local", now - timedelta(days=2), now, {})
    return {release: one.requests for release, one in facts.traffic.items()}


def test_an_hour_that_is_over_is_in_the_store_on_this_machine(node: LocalNode) -> None:
    then, tally = datetime.now(UTC) - timedelta(hours=3), Tally(service="sample", release=1)
    for _ in range(20):
        tally.add(then, 200, 5)
    saved = json.dumps({"local": {"sample 1": tally.model_dump(mode="json")}})
    agent, save = f"{node.target.node}-agent", f"cat > /state/traffic/{then:%Y-%m-%dT%H}.json"
    argv = ["docker", "exec", "--interactive", agent, "sh", "-c", save]
    subprocess.run(argv, input=saved, text=True, check=True)
    subprocess.run(["docker", "kill", agent], check=True, capture_output=True)
    node.target.ensure_node()
    wait(lambda: reported(node) == {1: 20})


def test_an_agent_that_sees_too_little_of_this_machine_is_replaced(
    node: LocalNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    def agent() -> str:
        return str(node.target._client().containers.get(f"{node.target.node}-agent").id)

    first, all_of_it = agent(), local_folders.binds
    node.target.ensure_node()
    assert agent() == first
    monkeypatch.setattr(local_folders, "binds", lambda *given: all_of_it(*given)[1:])
    node.target.ensure_node()
    second = agent()
    monkeypatch.undo()
    node.target.ensure_node()
    assert first != second != agent()
