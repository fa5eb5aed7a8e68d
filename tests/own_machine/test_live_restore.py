"""An engine with `live-restore` is killed (FAULTS.md row 20): the containers go on, and so does all that follows them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.node import LocalNode
from deployments.load import Request, running
from tests.agent.logs import lines_of
from tests.controllers import wait_until
from tests.own_machine.conftest import Machine, shell


@pytest.fixture
def live_restore(machine: Machine, own_node: LocalNode) -> Iterator[Machine]:
    machine.kill_engine()
    machine.power_on("--live-restore")
    yield machine
    machine.kill_engine()
    machine.power_on()


@pytest.mark.fault(20)
def test_users_and_log_lines_do_not_notice(
    live_restore: Machine, own_node: LocalNode, registry_outside: str
) -> None:
    node, store = own_node.target.node, own_node.target.home / "store"
    own_node.image = live_restore.push(registry_outside)
    own_node.confirmed(own_node.release("counts"))
    address = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    edge = shell("docker", "inspect", "--format", address, f"{node}-edge").strip()
    container = ("docker", "inspect", "--format", "{{.State.StartedAt}}", f"{node}-sample-r1")
    started = shell(*container)
    # Not by 127.0.0.1: what the engine itself listens on there ends with it, what others come by does not.
    with running(Request(own_node.port, host=edge), rate=50) as load:
        live_restore.kill_engine()
        sent = load.total
        wait_until(lambda: load.total > sent + 100, 30)
        live_restore.power_on("--live-restore")
        sent = load.total
        wait_until(lambda: load.total > sent + 50, 30)
    assert load.failures == []
    assert shell(*container) == started
    last = int(shell("docker", "logs", "--tail", "1", f"{node}-sample-r1").split()[1])
    own_node.confirmed(own_node.release())  # the agent goes on, too
    wait_until(lambda: len(counted(store)) > last, 60)
    assert counted(store) == list(range(1, len(counted(store)) + 1)), "a line is lost"


def counted(store: Path) -> list[int]:
    return [int(line.split()[1]) for line in lines_of(1, store) if line.startswith("count ")]
