"""Several services at one port of a node, told apart by name; the real agent, the real edge."""

import httpx
import pytest

from bench.node import LocalNode
from deployments.load import Request, running
from releases.problem import Failed, Refused
from releases.status import CANDIDATE_HEADER, RELEASE_HEADER, STATUS_PATH
from tests.controllers import wait_until

pytestmark = pytest.mark.containers


def ask(node: LocalNode, name: str, path: str = "/", **headers: str) -> httpx.Response:
    port = node.target.ports[1]
    return httpx.get(f"http://127.0.0.1:{port}{path}", headers={"Host": name, **headers}, timeout=10)


def called(*names: str) -> dict[str, object]:
    return {"local": {"names": names}}


def pid(node: LocalNode) -> str:
    """HAProxy's worker: another one means that it was loaded anew."""
    edge = node.target._client().containers.get(f"{node.target.node}-edge")
    return str([process[1] for process in edge.top()["Processes"]])


def test_services_are_told_apart_by_name_and_nobody_answers_for_another(node: LocalNode) -> None:
    node.confirmed(node.release(service="iris", hosts=called("iris.test")))
    node.confirmed(node.release(service="churn", hosts=called("churn.test", "churn.example")))
    assert ask(node, "iris.test").headers[RELEASE_HEADER] == "1"
    assert ask(node, "IRIS.test:8080").headers[RELEASE_HEADER] == "1"
    assert {ask(node, name).headers[RELEASE_HEADER] for name in ("churn.test", "churn.example")} == {"2"}

    stranger = ask(node, "other.test")
    assert stranger.status_code == 421
    assert "churn.example,churn.test,iris.test" in stranger.text
    assert RELEASE_HEADER not in stranger.headers
    assert ask(node, "other.test", STATUS_PATH).json()["services"]["iris"]["hosts"] == ["iris.test"]

    port = node.target.ports[1]
    with pytest.raises(Refused, match="shared by host name"):
        node.target.service_port("plain", port)
    with pytest.raises(Refused, match=r"iris\.test is iris's"):
        node.release(service="other", hosts=called("iris.test"))


def test_a_candidate_is_met_by_its_own_marked_requests_and_new_names_come_with_it(node: LocalNode) -> None:
    node.confirmed(node.release(service="iris", hosts=called("iris.test")))
    node.confirmed(node.release(service="churn", hosts=called("churn.test")))
    generation = node.verified(node.release(service="iris", hosts=called("new.test")), token="secret")
    marked = {CANDIDATE_HEADER: "secret"}
    assert ask(node, "new.test", **marked).headers[RELEASE_HEADER] == "3"
    assert ask(node, "new.test").headers[RELEASE_HEADER] == "1"
    assert ask(node, "iris.test").headers[RELEASE_HEADER] == "1"
    assert ask(node, "churn.test", **marked).headers[RELEASE_HEADER] == "2"
    node.shifted(generation, 100, "iris")
    node.target.confirm("iris", generation)
    wait_until(lambda: ask(node, "iris.test").status_code == 421, 20)
    assert ask(node, "new.test").headers[RELEASE_HEADER] == "3"


def test_no_request_fails_while_services_come_fail_and_are_swapped(node: LocalNode) -> None:
    node.confirmed(node.release(service="iris", hosts=called("iris.test")))
    before, port = pid(node), node.target.ports[1]
    quick = Request(port, headers=(("Host", "iris.test"),))
    slow = Request(port, path="/slow", headers=(("Host", "iris.test"),))
    with (
        running(quick, rate=100) as kept,
        running(quick, rate=100, keep_alive=False) as anew,
        running(slow, rate=2, senders=4) as long,
    ):
        node.confirmed(node.release(service="churn", hosts=called("churn.test")))
        with pytest.raises(Failed):
            node.verified(node.release("crashes", service="third", hosts=called("third.test")))
        node.confirmed(node.release(service="fourth", limits={"request_timeout": 5, "max_body": "1k"}))
        node.confirmed(node.release(service="iris", hosts=called("iris.test")))
    assert kept.failures + anew.failures + long.failures == []
    assert pid(node) == before, "HAProxy was loaded anew"
    wait_until(lambda: ask(node, "third.test").status_code == 421, 20)  # the name is free again


def test_limits_are_each_services_own_and_an_edge_that_restarts_knows_all(node: LocalNode) -> None:
    small = {"request_timeout": 0.2, "max_body": "1k"}
    node.confirmed(node.release(service="iris", hosts=called("iris.test"), limits=small))
    node.confirmed(node.release(service="churn", hosts=called("churn.test")))
    for _ in range(2):
        assert ask(node, "iris.test", "/slow").status_code == 504
        assert ask(node, "churn.test", "/slow").status_code == 200
        assert large(node, "iris.test") == 413
        assert ask(node, "other.test").status_code == 421
        node.target._client().containers.get(f"{node.target.node}-edge").restart(timeout=0)
        wait_until(lambda: answers(node), 20)


def large(node: LocalNode, name: str) -> int:
    url = node.target.url(node.target.ports[1])
    return httpx.request("PUT", url, headers={"Host": name}, content=b"x" * 2000, timeout=10).status_code


def answers(node: LocalNode) -> bool:
    try:
        return ask(node, "iris.test").status_code == 200
    except httpx.HTTPError:
        return False
