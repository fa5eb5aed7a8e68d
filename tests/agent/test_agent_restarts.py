"""An agent that starts again on a node with services; HAProxy is what it is told."""

import threading
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from agent.agent import Agent
from agent.edge import Edge
from agent.haproxy import Ports
from agent.memory import Disk
from agent.swapper import Node, Swapper
from releases.desired import Desired, ServiceDesired
from releases.status import NodeStatus
from releases.swap_memory import Clock, Container, Memory, Running, Slot
from tests.releases.test_swap import release

NAMES = tuple(f"service-{number}" for number in range(8))


def test_no_service_loses_its_names_while_the_others_are_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edge, routes = edge_that_records(tmp_path)
    agent = agent_on(Disk(tmp_path), edge)
    monkeypatch.setattr(Swapper, "run", lambda swapper: swapper.turn())
    agent.look()
    for thread in threading.enumerate():
        if thread.name in NAMES:
            thread.join()
    assert routes
    assert [told for told in routes if len(told) < len(NAMES)] == []


def edge_that_records(folder: Path) -> tuple[Edge, list[list[str]]]:
    """An edge over a HAProxy that runs, and each set of host names that it was given."""
    edge, routes = Edge.__new__(Edge), list[list[str]]()
    edge.folder, edge.services, edge.thumbprint, edge.told = folder, {}, "", {}
    edge.ports, edge.subnet, edge.lock = Ports((80,)), "10.0.0", threading.Lock()
    edge.make_room, edge._ensure_container = lambda: 0, lambda: None  # type: ignore[method-assign]
    (folder / "loaded").write_text(edge._structure())

    def send(line: str) -> str:
        given = [part for part in line.split(";") if "routes.map" in part and part.startswith("add map")]
        if given:
            routes.append(given)
        return ""

    edge._send = send  # type: ignore[method-assign]
    return edge, routes


def agent_on(disk: Disk, edge: Edge) -> Agent:
    """Every service is confirmed, live and alone."""
    confirmed = {
        name: release(1, hosts={"local": {"names": [f"{name}.test"]}}).model_copy(update={"service": name})
        for name in NAMES
    }
    for name, one in confirmed.items():
        ready = frozenset({name})
        disk.save(name, Memory(live=Slot.a, confirmed=one, confirmed_generation=1, ready=ready))
    desired = Desired(
        services={name: ServiceDesired(generation=1, confirmed=one) for name, one in confirmed.items()}
    )
    engine, certificates = MagicMock(), MagicMock()
    engine.changed_by_hand.return_value, certificates.status.return_value = "", None

    def containers(name: str) -> tuple[Container, ...]:
        return (Container(name, confirmed[name].fingerprint, 1, Slot.a, Running.running),)

    engine.containers = containers
    agent = Agent.__new__(Agent)
    agent.shared = Node(
        engine, edge, disk, MagicMock(), MagicMock(), lambda: Clock(1.0, "boot"), certificates, MagicMock()
    )
    agent.document = agent.saved = None
    agent.source, agent.tell, agent.lock = MagicMock(), MagicMock(), threading.Lock()
    agent.source.next.return_value = desired.model_dump_json().encode()
    agent.desired, agent.swappers, agent.keys, agent.challenges = Desired(), {}, {}, MagicMock()
    agent.status = NodeStatus(node="n", agent="1", at=datetime.now(UTC))
    return agent
