"""ACME's challenges are answered by any node for the account in its document; the real agent, the real edge."""

import httpx
import pytest

from bench.node import LocalNode
from releases.acme import CHALLENGES
from releases.status import RELEASE_HEADER, STATUS_PATH
from tests.controllers import wait_until

pytestmark = pytest.mark.containers
TOKEN, ACCOUNT = "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0", "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"


def ask(node: LocalNode, path: str = TOKEN, port: int = 0, name: str = "any.test") -> tuple[int, str]:
    url = f"{node.target.url(node.target.ports[port])}{CHALLENGES}{path}"
    answer = httpx.get(url, headers={"Host": name}, timeout=5)
    return answer.status_code, answer.text


def answered(node: LocalNode, account: str = ACCOUNT) -> bool:
    try:
        return ask(node) == (200, f"{TOKEN}.{account}")
    except httpx.HTTPError:
        return False


def test_a_node_answers_for_the_account_with_services_and_without(node: LocalNode) -> None:
    assert not answered(node)
    node.target.answer_challenges(ACCOUNT, node.target.ports[0])
    wait_until(lambda: answered(node), 20)
    for port in range(len(node.target.ports)):
        assert ask(node, port=port) == (200, f"{TOKEN}.{ACCOUNT}")
    for other in ("", "a.b", "a%2Fb", "..%2F", "a/b", "%25[path]", "a%20b", "a%0Ab"):
        status, text = ask(node, other)
        assert (status == 200, ACCOUNT in text) == (False, False), other

    node.confirmed(node.release(service="iris", hosts={"local": {"names": ["iris.test"]}}))
    node.confirmed(node.release(service="plain"))
    for name in ("iris.test", "any.test"):  # a service's own name and port, and one that nobody has
        for port in range(len(node.target.ports)):
            assert ask(node, port=port, name=name) == (200, f"{TOKEN}.{ACCOUNT}")
    url = node.target.url(node.target.ports[1])
    answer = httpx.get(url, headers={"Host": "iris.test"}, timeout=5)
    assert answer.headers[RELEASE_HEADER] == "1"

    client = node.target._client()
    client.containers.get(f"{node.target.node}-edge").restart(timeout=0)
    wait_until(lambda: answered(node), 20)
    client.containers.get(f"{node.target.node}-agent").restart(timeout=0)
    node.confirmed(node.release(service="plain"))
    assert answered(node)

    node.target.answer_challenges("another", node.target.ports[0])
    wait_until(lambda: answered(node, "another"), 20)
    node.target.answer_challenges("", node.target.ports[0])
    wait_until(lambda: ask(node)[0] != 200, 20)
    assert httpx.get(node.target.url(node.target.ports[0]) + STATUS_PATH, timeout=5).status_code == 200
