"""What the agent makes of the metadata server: the desired state, tokens for one registry, the hint."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
import requests

from agent.failure import StepFailed
from agent.google.hint import Hint, brief
from agent.google.metadata import MetadataServer
from agent.google.registry import RegistryLogin
from agent.google.successor import Successor
from agent.sources import Unreadable
from agent.sources.metadata import MetadataKey
from releases.status import Failure, NodeStatus, Phase, ServiceStatus
from sandbox.server import running
from sandbox.world import Settings, World
from tests.sandbox.conftest import Cloud, eventually, metadata

REGISTRY = "europe-west1-docker.pkg.dev"


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    world = World(Settings(pending_seconds=0.01, running_seconds=0.02))
    with running(world) as at:
        yield Cloud(world, at)


@pytest.fixture
def server(cloud: Cloud) -> MetadataServer:
    made = cloud.vm(
        service_accounts=[{"email": "default"}], metadata=metadata(enable_guest_attributes="TRUE")
    )
    return MetadataServer(cloud.on(made).removesuffix("/computeMetadata/v1"))


def put(cloud: Cloud, **items: str) -> None:
    """On the newest VM, as a controller does."""
    vm = list(cloud.world.instances.values())[-1]
    path = f"/compute/v1/projects/{cloud.project}/zones/{vm.zone}/instances/{vm.name}"
    known = cloud.call("GET", path).json()["metadata"]
    kept = [item for item in known.get("items", []) if item["key"] not in items]
    wanted = kept + [{"key": key, "value": value} for key, value in items.items() if value]
    body = {"fingerprint": known["fingerprint"], "items": wanted}
    cloud.call("POST", f"{path}/setMetadata", json=body).raise_for_status()


def test_a_key_that_does_not_exist_yet_is_heard_of_when_it_does(cloud: Cloud, server: MetadataServer) -> None:
    source = MetadataKey(server, "wish", wait=20)
    assert source.next() is None
    heard: list[bytes | None] = []
    waiting = threading.Thread(target=lambda: heard.append(source.next()))
    waiting.start()
    put(cloud, wish="first")
    waiting.join(15)
    assert heard == [b"first"]


def test_brief_trouble_is_no_news_and_lasting_trouble_is(cloud: Cloud, server: MetadataServer) -> None:
    put(cloud, wish="first")
    source = MetadataKey(server, "wish", wait=0)
    eventually(lambda: source.next() == b"first")
    cloud.fault("unavailable", path="/computeMetadata/*", count=2)
    assert [source.next() for _ in range(3)] == [b"first"] * 3
    cloud.fault("unavailable", path="/computeMetadata/*", count=5)
    with pytest.raises(Unreadable, match="does not answer: HTTP 503"):
        [source.next() for _ in range(5)]
    eventually(lambda: source.next() == b"first")


@pytest.mark.fault(23)
def test_only_the_one_registry_sees_the_token_and_a_refused_one_is_replaced(
    cloud: Cloud, server: MetadataServer
) -> None:
    login = RegistryLogin(server, REGISTRY)
    assert login.of("docker.io/library/python@sha256:0") is None
    assert login.of(f"evil.example/{REGISTRY}/image") is None
    first = login.of(f"{REGISTRY}/p/r/image@sha256:0")
    assert first == login.of(f"{REGISTRY}/p/r/other@sha256:0")
    cloud.pass_time(4000)
    second = login.of(f"{REGISTRY}/p/r/image@sha256:0", refused=True)
    assert first
    assert second
    assert first["username"] == second["username"] == "oauth2accesstoken"
    assert first["password"] != second["password"]


def status(**services: ServiceStatus) -> NodeStatus:
    return NodeStatus(node="n", at=datetime.now(UTC), services=services)


def test_the_hint_is_written_seldom_and_ends_with_the_newest(cloud: Cloud, server: MetadataServer) -> None:
    vm, stop, began = list(cloud.world.instances.values())[-1], threading.Event(), time.monotonic()
    hint = Hint(server, seconds_between=0.5)
    thread = threading.Thread(target=hint.run, args=[stop], daemon=True)
    thread.start()
    for release in range(1, 101):
        hint(status(sample=ServiceStatus(live=release)))
        time.sleep(0.01)
    eventually(lambda: '"live":100' in vm.guest.get(("model-deploy", "status"), ""))
    assert len(vm.queries) <= 2 + (time.monotonic() - began) / 0.5
    stop.set()


def test_the_hint_tells_no_log_lines() -> None:
    failure = Failure(
        phase=Phase.probe, reason="exited", log_tail=("password=hunter2",), last_answer="hunter2"
    )
    text = brief(status(sample=ServiceStatus(failure=failure)))
    assert "exited" in text
    assert "hunter2" not in text


def test_an_agent_makes_way_only_for_an_image_that_is_here() -> None:
    ended: list[int] = []

    def missing(image: str) -> None:
        raise StepFailed(Phase.pull, f"no {image}")

    def engine_restarts(_: str) -> None:
        raise requests.ConnectionError("the engine hung up")

    def told(ensure: Callable[[str], None], attributes: dict[str, str]) -> None:
        successor = Successor("own", ensure, ended.append)
        successor(attributes)
        if successor.fetching:
            successor.fetching.join(10)

    told(lambda _: None, {"model-deploy-agent": "own"})
    told(lambda _: None, {"ssh-keys": "x"})
    told(lambda _: None, {"gce-container-declaration": "set by hand"})
    told(missing, {"model-deploy-agent": "other"})
    told(engine_restarts, {"model-deploy-agent": "other"})
    assert ended == []
    told(lambda _: None, {"model-deploy-agent": "other\n"})
    assert ended == [0]
    told(missing, {"gce-container-declaration": "", "model-deploy-adopted": "{}"})
    assert ended == [0, 0]


def test_documents_are_heard_of_while_the_next_agent_is_pulled(cloud: Cloud, server: MetadataServer) -> None:
    arrived, ended = threading.Event(), threading.Event()
    successor = Successor("own", lambda _: ended.wait(20) or None, lambda _: arrived.set())
    source = MetadataKey(server, "wish", successor, wait=20)
    put(cloud, **{"model-deploy-agent": "other", "wish": "first"})
    eventually(lambda: source.next() == b"first")
    put(cloud, wish="second")
    eventually(lambda: source.next() == b"second")
    assert not arrived.is_set()
    ended.set()
    assert arrived.wait(10)
