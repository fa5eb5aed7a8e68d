"""How long an agent has been silent, on nodes whose clock is an hour off or is set meanwhile."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock
from urllib.parse import urlsplit

import pytest

from agent import agent as program
from agent.agent import Agent
from agent.memory import Disk
from blocks.targets.local import LocalTarget
from flows import reconcile as story
from releases.desired import ServiceDesired
from releases.reconcile import SILENT, drift
from releases.status import NodeStatus, ServiceStatus
from releases.swap_memory import Clock
from tests.http_server import Answer, Request, serving
from tests.releases.test_swap import release as a_release

pytestmark = pytest.mark.fault(31)
HOUR = timedelta(hours=1)
OFF = pytest.mark.parametrize("off", [HOUR, -HOUR], ids=["ahead", "behind"])


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    edge = MagicMock(subnet="10.0.0")
    around = MagicMock(image="")
    return Agent("n", around, MagicMock(), edge, Disk(tmp_path), lambda: Clock(0.0, "boot"))


class Watch:
    """What the agent counts seconds by, and a clock on the wall that is off."""

    def __init__(self, off: timedelta) -> None:
        self.seconds, self.off = 0.0, off

    def monotonic(self) -> float:
        return self.seconds

    def now(self, zone: Any) -> datetime:
        return datetime.now(zone) + self.off


def asked(agent: Agent) -> NodeStatus:
    """As over the network."""
    return NodeStatus.model_validate_json(agent.shown_to("").model_dump_json())


def found(*nodes: NodeStatus, monkeypatch: pytest.MonkeyPatch) -> str:
    """What reconcile says of a node where all else is as it should be."""
    monkeypatch.setattr(story, "no_answer", lambda *_: "")
    release = a_release(1)
    target = SimpleNamespace(
        nodes=lambda: nodes, desired=lambda _: ServiceDesired(confirmed=release), urls=lambda _: []
    )
    (seen,) = story.see(SimpleNamespace(target=target, name="production"), release).values()  # type: ignore[arg-type]
    return drift(1, seen)


@OFF
def test_a_nodes_clock_is_not_taken_for_silence_nor_hides_it(
    agent: Agent, off: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(off)
    monkeypatch.setattr(program, "time", watch)
    monkeypatch.setattr(program, "datetime", watch)
    agent.report(a_release(1).service, ServiceStatus(live=1))
    watch.seconds += SILENT - 1
    assert found(asked(agent), monkeypatch=monkeypatch) == ""
    watch.seconds += 421
    said = found(asked(agent), monkeypatch=monkeypatch)
    assert said == "the agent has said nothing for 10 minutes"
    watch.off = -off  # somebody sets the clock
    agent.report(a_release(1).service, ServiceStatus(live=1, message="again"))
    assert found(asked(agent), monkeypatch=monkeypatch) == ""


@OFF
def test_a_laptop_whose_clock_was_set_asks_its_agent_and_not_the_files_time(
    agent: Agent, off: timedelta, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent.report(a_release(1).service, ServiceStatus(live=1))

    def page(_: Request) -> Answer:
        return Answer(agent.shown_to("").model_dump_json().encode())

    with serving(page) as address:
        target = LocalTarget(home=tmp_path, ports=[urlsplit(address).port], agent_image="none")
        target.folder.mkdir(parents=True)
        written = json.loads(agent.status.model_dump_json()) | {"at": (datetime.now(UTC) + off).isoformat()}
        (target.folder / "status.json").write_text(json.dumps(written))
        assert found(*target.nodes(), monkeypatch=monkeypatch) == ""


@pytest.mark.parametrize(("ago", "said"), [(0, ""), (10, "the agent has said nothing for 10 minutes")])
def test_an_agent_of_before_is_judged_by_its_clock(
    ago: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = datetime.now(UTC) - timedelta(minutes=ago)
    services = {a_release(1).service: ServiceStatus(live=1)}
    assert found(NodeStatus(node="n", at=at, services=services), monkeypatch=monkeypatch) == said
