"""The agent on a disk that is full: its files are written onto the kernel's own full device."""

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest

from agent.agent import Agent
from agent.edge import Edge
from agent.failure import StepFailed
from agent.haproxy import Ports
from agent.images import Images
from agent.memory import Disk
from agent.swapper import Node, Swapper
from releases.desired import Candidate, Desired, ServiceDesired
from releases.status import NodeStatus, Phase
from releases.swap_memory import Clock, Container, Memory, Running, Slot, Trial
from tests.releases.test_swap import release

FULL = Path("/dev/full")
pytestmark = [
    pytest.mark.fault(13),
    pytest.mark.skipif(not FULL.exists(), reason="the kernel has no /dev/full"),
]


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    made = Disk(tmp_path)
    made.recover()
    assert made.room.ballast.stat().st_size == 4 << 20
    return made


def fill(disk: Disk, *names: str) -> list[Path]:
    """Whatever is written under these names finds no room."""
    links = [disk.folder / f"{name}.new" for name in names]
    for link in links:
        link.symlink_to(FULL)
    return links


def no_room_until_made(disk: Disk, *names: str) -> list[str]:
    links, made = fill(disk, *names), []

    def free() -> int:
        made.append("freed")
        for link in links:
            link.unlink(missing_ok=True)
        return 1

    disk.room.retired = free
    return made


def test_the_ballast_and_what_is_retired_make_way_for_what_must_be_remembered(disk: Disk) -> None:
    made = no_room_until_made(disk, "iris.json")
    disk.save("iris", Memory(confirmed=release(1)))
    assert made == ["freed"]
    assert not disk.room.ballast.exists()
    assert disk.load("iris")[0].confirmed == release(1)
    disk.room.tried = float("-inf")
    disk.recover()
    assert disk.room.ballast.exists()


def agent_on(disk: Disk, document: bytes) -> Agent:
    agent = Agent.__new__(Agent)
    agent.document = agent.saved = None
    agent.source, agent.tell, agent.lock = MagicMock(), MagicMock(), MagicMock()
    agent.source.next.return_value = document
    agent.desired, agent.swappers, agent.keys = Desired(), {}, {}
    agent.challenges, agent.shared = MagicMock(), SimpleNamespace(disk=disk)
    agent.status = NodeStatus(node="n", agent="1", at=datetime.now(UTC))
    return agent


def test_a_document_that_finds_no_room_is_followed_and_the_agent_says_so(disk: Disk) -> None:
    links = fill(disk, "desired")
    agent = agent_on(disk, Desired(acme="account").model_dump_json().encode())
    agent.look()
    assert "No space left" in agent.status.problem
    assert agent.desired.acme == "account"
    links[0].unlink()
    agent.look()
    assert agent.status.problem == ""
    assert disk.document() == agent.document


def test_a_candidate_that_fills_the_disk_is_taken_back(disk: Disk) -> None:
    old, new = release(1), release(2)
    trial = Trial(5, "new", new, traffic=100, since=0.0, boot="boot")
    ready = frozenset({"old", "new"})
    memory = Memory(confirmed=old, confirmed_generation=4, live=Slot.b, ready=ready, trial=trial)
    disk.save("iris", memory)
    engine, edge = MagicMock(), MagicMock(subnet="10.0.0")
    engine.containers.return_value = (
        Container("old", old.fingerprint, 1, Slot.a, Running.running),
        Container("new", new.fingerprint, 2, Slot.b, Running.running),
    )
    engine.log_tail.return_value, edge.sessions.return_value = (), {}
    candidate = Candidate(release=new, traffic=100, key_sha256="0" * 64, window=60.0)
    wanted = ServiceDesired(generation=5, confirmed=old, candidate=candidate)
    node = Node(
        engine, edge, disk, MagicMock(), MagicMock(), lambda: Clock(100.0, "boot"), MagicMock(), MagicMock()
    )
    node.certificates.status.return_value = None
    swapper = Swapper("iris", node, lambda: wanted, MagicMock())
    links = fill(disk, "iris.json")
    for _ in range(3):
        swapper.turn()
    served = edge.converge.call_args.args[0]
    assert (served.a.weight, served.b.weight) == (100, None)
    engine.remove.assert_called()
    links[0].unlink()
    disk.recover()
    assert 5 in disk.load("iris")[0].reverted


def test_the_running_edge_is_told_though_its_files_find_no_room(tmp_path: Path) -> None:
    edge = Edge.__new__(Edge)
    edge.folder, edge.services, edge.thumbprint, edge.told = tmp_path, {}, "", {}
    edge.ports, edge.subnet, edge.lock = Ports((80,)), "10.0.0", MagicMock()
    (tmp_path / "haproxy.cfg.new").symlink_to(FULL)
    (tmp_path / "loaded").write_text(edge._structure())
    edge.make_room, edge._ensure_container, said = lambda: 0, lambda: None, []  # type: ignore[method-assign]
    edge._send = lambda line: said.append(line) or ""  # type: ignore[method-assign, func-returns-value]
    edge._tell_maps = lambda: None  # type: ignore[method-assign]
    served = MagicMock(places=(), backend="seat_0")
    edge.converge(served)
    assert "set server seat_0/a state maint" in said[0]


def test_a_container_that_finds_no_room_is_started_once_there_is_some(disk: Disk) -> None:
    images = Images(MagicMock(), MagicMock(disk=disk), lambda: 0)
    tries = []

    def start() -> None:
        tries.append(disk.room.ballast.exists())
        if tries[-1]:
            raise StepFailed(Phase.start, "mkdir /var/lib/docker: no space left on device")

    images.with_room(start)
    assert tries == [True, False]
