"""Swaps by the real agent, with real containers behind the real edge."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest

from bench.node import LocalNode
from blocks.docker_client import find_docker
from deployments.load import Request, running
from releases.problem import Failed
from releases.status import CANDIDATE_HEADER, RELEASE_HEADER, STATUS_PATH, NodeStatus, Phase

pytestmark = pytest.mark.containers


def answer(node: LocalNode, path: str = "/", **headers: str) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{node.port}{path}", headers=headers, timeout=10)


def live(node: LocalNode) -> str:
    return answer(node).headers[RELEASE_HEADER]


def wait(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it has not come true"
        time.sleep(0.05)


def docker(*argv: str) -> str:
    return subprocess.run(["docker", *argv], check=True, capture_output=True, text=True).stdout


def test_a_candidate_is_met_by_marked_requests_only_until_it_is_switched(node: LocalNode) -> None:
    node.confirmed(node.release())
    generation = node.verified(node.release(limits={"request_timeout": 1}), token="secret")
    marked = {CANDIDATE_HEADER: "secret"}
    assert answer(node, "/slow").status_code == 200, "users have the candidate's limit"
    assert answer(node, "/slow", **marked).status_code == 504
    assert {answer(node).json()["release"] for _ in range(20)} == {"1"}
    assert {answer(node, **marked).json()["release"] for _ in range(20)} == {"2"}
    assert answer(node, **{CANDIDATE_HEADER: "guess"}).json()["release"] == "1"
    node.target.shift("sample", generation, 100)
    node.target.wait_for("sample", generation, lambda s: s.phase is Phase.bake, 10)
    assert {answer(node).json()["release"] for _ in range(20)} == {"2"}


@pytest.mark.parametrize("keep_alive", [True, False])
def test_no_request_fails_over_swaps_under_load(node: LocalNode, keep_alive: bool) -> None:
    node.confirmed(node.release())
    fast = Request(node.port)
    slow = Request(node.port, path="/slow")
    with (
        running(fast, rate=200, keep_alive=keep_alive) as quick,
        running(slow, rate=2, senders=4, keep_alive=keep_alive) as long,
    ):
        for _ in range(10):
            node.confirmed(node.release())
    assert quick.failures + long.failures == []
    assert {"2", "11"} <= quick.releases
    assert quick.total > 500


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("crashes", "exited before it was ready: exit code 3"),
        ("never healthy", "did not become ready in time"),
    ],
)
def test_a_candidate_that_never_gets_ready_is_given_up_and_the_old_one_serves(
    node: LocalNode, behaviour: str, reason: str
) -> None:
    node.confirmed(node.release())
    with running(Request(node.port), rate=50) as load, pytest.raises(Failed) as caught:
        node.verified(node.release(behaviour, health={"path": "/healthz", "timeout": 2}))
    assert reason in str(caught.value)
    assert "starting" in str(caught.value), "the container's last lines are missing"
    assert load.failures == []
    assert live(node) == "1"
    wait(lambda: docker("ps", "-aq", "--filter", f"name={node.target.node}-sample-r2") == "")


def test_a_crash_in_the_bake_goes_back_at_once(node: LocalNode) -> None:
    node.confirmed(node.release())
    generation = node.switched(node.release("crashes later"))
    with pytest.raises(Failed, match="exit code 4"):
        node.target.wait_for("sample", generation, lambda s: s.phase is Phase.live, 15)
    wait(lambda: live(node) == "1", 2)
    last_words = node.target.status("sample").reverted[generation].log_tail
    assert last_words
    page = f"{node.target.url(node.port)}{STATUS_PATH}"
    for shown, token in [(False, ""), (False, "guessed"), (True, "t")]:
        told = NodeStatus.model_validate_json(httpx.get(page, headers={CANDIDATE_HEADER: token}).content)
        assert told.services["sample"].reverted[generation].log_tail == (last_words if shown else ())


@pytest.mark.fault(33)
def test_an_unconfirmed_release_is_reverted_by_the_node_itself(node: LocalNode) -> None:
    node.confirmed(node.release())
    generation = node.switched(node.release(window=2))
    with pytest.raises(Failed, match="not confirmed in time"):
        node.target.wait_for("sample", generation, lambda s: s.phase is Phase.live, 15)
    wait(lambda: live(node) == "1", 2)
    node.target.confirm("sample", generation)  # too late: never revived
    time.sleep(0.5)
    assert live(node) == "1"


def test_a_first_candidate_is_reached_the_moment_it_is_said_to_be_ready(node: LocalNode) -> None:
    node.verified(node.release(), token="secret")
    assert answer(node, **{CANDIDATE_HEADER: "secret"}).json()["release"] == "1"
    assert answer(node).status_code == 503


def test_a_first_release_that_fails_leaves_nothing_running(node: LocalNode) -> None:
    at_once = node.release(entrypoint=["sh", "-c"], command=["echo no weights; exit 3"])
    with pytest.raises(Failed, match=r"before it was ready: exit code 3.* s \(limit 10 s\)\n *no weights"):
        node.verified(at_once)
    with pytest.raises(Failed):
        node.target.wait_for("sample", node.verified(node.release("crashes later")), lambda s: False, 15)
    wait(
        lambda: (
            docker(
                "ps",
                "-aq",
                "--filter",
                "label=model-deploy.service=sample",
                "--filter",
                f"label=model-deploy.node={node.target.node}",
            )
            == ""
        )
    )


@contextmanager
def held(node: LocalNode, phase: Phase) -> Iterator[int]:
    """Release 2 in the phase for as long as the block runs, or for the two seconds that its start takes."""
    if phase is Phase.pull:
        with away(registry_of(node)):
            yield node.propose(node.release())
    elif phase is Phase.probe:
        yield node.propose(node.release("slow start"))
    elif phase is Phase.verify:
        yield node.verified(node.release())
    elif phase is Phase.bake:
        yield node.switched(node.release())
    else:
        generation = node.verified(node.release())
        with running(Request(node.port, path="/slow"), rate=4) as long:
            wait(lambda: long.total > 0)  # some are always in flight at the old one
            node.shifted(generation, 100)
            node.target.confirm("sample", generation)
            yield generation
        assert long.failures == []


def registry_of(node: LocalNode) -> str:
    """The container; and the service's next release is of an image that only it has."""
    registry = node.image.partition("/")[0]
    tag = f"{registry}/sample:{node.target.node}"
    client = find_docker()
    recipe = f"FROM {node.image}\nLABEL of={node.target.node}\n".encode()
    environment = {**os.environ, **client.environment}
    argv = [client.path, "build", "--quiet", "--tag", tag, "-"]
    subprocess.run(argv, input=recipe, check=True, capture_output=True, env=environment)
    docker("push", "--quiet", tag)
    node.image = docker("image", "inspect", "--format", "{{index .RepoDigests 0}}", tag).strip()
    docker("image", "rm", tag)
    return docker("ps", "-q", "--filter", f"publish={registry.rpartition(':')[2]}").strip()


@contextmanager
def away(container: str) -> Iterator[None]:
    docker("pause", container)
    try:
        yield
    finally:
        docker("unpause", container)


# Start, fetch and switch are over in a moment: tests/agent/test_swapper.py kills the agent in them.
@pytest.mark.parametrize("phase", [Phase.pull, Phase.probe, Phase.verify, Phase.bake, Phase.drain])
@pytest.mark.fault(18)
def test_an_agent_killed_in_any_phase_goes_on_where_it_was(node: LocalNode, phase: Phase) -> None:
    node.confirmed(node.release())
    agent = f"{node.target.node}-agent"
    with running(Request(node.port), rate=50) as load:
        with held(node, phase) as generation:
            wait(lambda: node.target.status("sample").phase is phase)
            docker("kill", "--signal", "KILL", agent)
            assert node.target.status("sample").phase is phase, "it was killed too late"
        docker("start", agent)
        if phase is not Phase.drain:
            node.target.wait_for("sample", generation, lambda s: s.phase in {Phase.verify, Phase.bake}, 20)
            node.target.shift("sample", generation, 100)
            node.target.wait_for("sample", generation, lambda s: s.phase is Phase.bake, 20)
            node.target.confirm("sample", generation)
        node.target.wait_for("sample", generation, lambda s: s.phase is Phase.live, 20)
    assert load.failures == []
    assert live(node) == "2"
    assert (
        docker(
            "ps",
            "-q",
            "--filter",
            "label=model-deploy.service=sample",
            "--filter",
            f"label=model-deploy.node={node.target.node}",
        ).count("\n")
        == 1
    )


@pytest.mark.fault(19)
def test_an_edge_that_restarts_serves_the_same_release(node: LocalNode) -> None:
    node.confirmed(node.release())
    node.confirmed(node.release())
    docker("restart", "-t", "0", f"{node.target.node}-edge")
    wait(lambda: answers(node))
    assert live(node) == "2"
    node.confirmed(node.release())
    assert live(node) == "3"


def answers(node: LocalNode) -> bool:
    try:
        return answer(node).status_code == 200
    except httpx.HTTPError:
        return False
