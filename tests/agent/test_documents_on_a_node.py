"""What a node does with documents it cannot take, with shares of the traffic, and with another agent."""

import json
import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import httpx
import pytest

from bench.node import LocalNode
from blocks.targets.local import LocalTarget
from deployments.load import Request, running
from deployments.machine.home import Home, free_ports
from deployments.machine.images import agent_image
from releases.problem import Refused
from releases.status import RELEASE_HEADER, STATUS_PATH, Phase
from tests.controllers import wait_until

pytestmark = pytest.mark.containers


def live(node: LocalNode) -> str:
    return httpx.get(node.target.url(node.port), timeout=5).headers[RELEASE_HEADER]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{not json", "the desired state cannot be read"),
        (json.dumps({"format": 99, "services": {}}), "has format 99; this agent knows"),
        (
            json.dumps({"format": 99, "services": {"sample": {"wishes": 1}}}),
            "has format 99; this agent knows",
        ),
    ],
    ids=["unreadable", "newer", "newer in another shape"],
)
def test_a_document_it_cannot_take_changes_nothing_and_is_reported(
    node: LocalNode, text: str, said: str
) -> None:
    node.confirmed(node.release())
    assert live(node) == "1"
    path = node.target.folder / "desired.json"
    good = path.read_text()
    path.with_suffix(".fresh").write_text(text)
    path.with_suffix(".fresh").rename(path)
    wait_until(lambda: said in node.target.node_status().problem, 5)
    assert live(node) == "1"
    path.with_suffix(".fresh").write_text(good)
    path.with_suffix(".fresh").rename(path)
    wait_until(lambda: node.target.node_status().problem == "", 5)
    node.confirmed(node.release())
    assert live(node) == "2"


@pytest.mark.parametrize("share", [10, 50])
def test_a_share_of_the_traffic_reaches_the_candidate_and_can_grow(node: LocalNode, share: int) -> None:
    node.confirmed(node.release())
    generation = node.switched(node.release(), traffic=share)
    with httpx.Client(base_url=node.target.url(node.port)) as client:
        seen = Counter(client.get("/").headers[RELEASE_HEADER] for _ in range(400))
    assert abs(seen["2"] - 4 * share) <= 20, seen
    with running(Request(node.port), rate=100) as load:
        node.shifted(generation, 100)
        node.target.confirm("sample", generation)
        node.target.wait_for("sample", generation, lambda status: status.phase is Phase.live, 20)
    assert load.failures == []
    assert live(node) == "2"


def test_a_canary_that_is_taken_back_leaves_everything_to_the_old_one(node: LocalNode) -> None:
    node.confirmed(node.release())
    generation = node.switched(node.release(), traffic=30)
    with running(Request(node.port), rate=100) as load:
        newer = node.target.revert("sample", generation)
        node.target.wait_for("sample", newer, lambda status: status.phase is Phase.live, 20)
    assert load.failures == []
    assert {live(node) for _ in range(30)} == {"1"}


def test_another_agent_takes_over_without_touching_what_serves(node: LocalNode) -> None:
    node.confirmed(node.release())
    container = node.target.status("sample")
    before = node.target.node_status().at
    with running(Request(node.port), rate=100) as load:
        client = node.target._client()
        client.containers.get(f"{node.target.node}-agent").remove(force=True)
        node.target.ensure_node()
        wait_until(lambda: node.target.node_status().at > before, 20)
        time.sleep(0.3)  # nothing is awaited here: nothing may happen
    assert load.failures == []
    assert load.releases == {"1"}
    assert node.target.status("sample").confirmed == container.confirmed
    started = [
        one.attrs["State"]["StartedAt"]
        for one in client.containers.list(filters={"name": f"{node.target.node}-sample"})
    ]
    assert len(started) == 1


def test_the_edge_tells_the_nodes_status(node: LocalNode) -> None:
    node.confirmed(node.release())
    told = httpx.get(f"{node.target.url(node.target.ports[0])}{STATUS_PATH}", timeout=5).json()
    assert told["services"]["sample"]["live"] == 1


def test_a_port_that_another_program_has_is_named_before_anything_is_started(tmp_path) -> None:
    home = Home(tmp_path / "home")
    home.prepare()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        target = LocalTarget(
            home=home.path,
            node=f"md-test-{taken}",
            ports=[*free_ports(2), taken],
            agent_image=agent_image(),
        )
        try:
            with pytest.raises(Refused, match=f"port {taken} is taken by another program"):
                target.ensure_node()
            assert target._client().containers.list(all=True, filters={"name": f"^{target.node}-"}) == []
        finally:
            target.remove_node()


def test_a_node_that_two_releases_want_at_once_is_set_up_once(tmp_path: Path) -> None:
    home, ports = Home(tmp_path / "home"), free_ports(3)
    home.prepare()
    node, image, together = f"md-test-{ports[0]}", agent_image(), Barrier(2)

    def set_up(_: int) -> None:
        together.wait()
        LocalTarget(home=home.path, node=node, ports=ports, agent_image=image).ensure_node()

    target = LocalTarget(home=home.path, node=node, ports=ports, agent_image=image)
    try:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(set_up, range(2)))
        assert len(target._client().networks.list(names=[f"^{node}$"])) == 1
    finally:
        target.remove_node()


def test_a_public_port_that_another_service_has_is_refused(node: LocalNode) -> None:
    port = node.target.service_port("sample", None)
    with pytest.raises(Refused, match="taken by sample"):
        node.target.service_port("other", port)
    with pytest.raises(Refused, match="not one of the edge's ports"):
        node.target.service_port("other", 1)
