"""TLS ends at a node's edge, with certificates by secret reference; the real agent, the real edge."""

import json
import ssl
import subprocess
import time
from contextlib import AbstractContextManager

import httpx
import pytest

from bench.node import LocalNode
from releases.problem import Failed
from releases.status import CANDIDATE_HEADER, RELEASE_HEADER, STATUS_PATH, CertificateStatus
from tests.agent.showing import ENTRYPOINT, command
from tests.certificates import certificate
from tests.controllers import wait_until
from tests.users import asking

pytestmark = pytest.mark.containers
NAME = "iris.test"


def trusting(*texts: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.load_verify_locations(cadata="\n".join(text.split("-----BEGIN PRIVATE")[0] for text in texts))
    return context


def ask(node: LocalNode, context: ssl.SSLContext, name: str = NAME, **headers: str) -> httpx.Response:
    with httpx.Client(verify=context, headers={"Host": name, **headers}, timeout=10) as client:
        url = f"https://127.0.0.1:{node.target.tls_ports[0]}/"
        return client.get(url, extensions={"sni_hostname": name})


def shown(node: LocalNode, context: ssl.SSLContext) -> bool:
    """Whether what the edge shows is trusted by this client."""
    try:
        return ask(node, context).status_code == 200
    except httpx.ConnectError:
        return False


def put(node: LocalNode, text: str, secret: str = "iris-tls") -> None:
    node.target.secrets.add(secret, text)


def secured(*names: str, secret: str = "iris-tls") -> dict[str, object]:
    return {"local": {"names": names, "certificate": secret}}


def said(node: LocalNode) -> CertificateStatus:
    found = node.target.status("iris").certificate
    assert found is not None
    return found


def users(node: LocalNode, context: ssl.SSLContext, *, keep_alive: bool) -> AbstractContextManager[list[str]]:
    url = f"https://127.0.0.1:{node.target.tls_ports[0]}/"
    return asking(
        lambda client: client.get(url, extensions={"sni_hostname": NAME}),
        lambda: httpx.Client(verify=context, headers={"Host": NAME}, timeout=10),
        [keep_alive] * 4,
    )


def test_users_come_by_https_and_who_comes_by_http_is_sent_there(node: LocalNode) -> None:
    text = certificate(NAME)
    put(node, text)
    node.confirmed(node.release(service="iris", hosts=secured(NAME)))
    node.confirmed(node.release(service="plain"))
    trusted = trusting(text)
    assert ask(node, trusted).headers[RELEASE_HEADER] == "1"
    tls = node.target.tls_ports[0]
    for port in node.target.ports:  # also where another service answers to every name
        answer = httpx.post(f"http://127.0.0.1:{port}/x?y=1", headers={"Host": NAME}, timeout=5)
        assert (answer.status_code, answer.headers["location"]) == (308, f"https://{NAME}:{tls}/x?y=1")
    status = httpx.get(node.target.url(node.target.ports[0]) + STATUS_PATH, headers={"Host": NAME}, timeout=5)
    assert status.status_code == 200

    generation = node.verified(node.release(service="iris", hosts=secured(NAME)), token="secret")
    assert ask(node, trusted, **{CANDIDATE_HEADER: "secret"}).headers[RELEASE_HEADER] == "3"
    assert ask(node, trusted).headers[RELEASE_HEADER] == "1"
    node.target.revert("iris", generation)

    key = text.split("PRIVATE KEY-----\n")[1][:60]
    told = [json.dumps(node.target.node_status().model_dump(mode="json")), status.text]
    for name in ("agent", "edge", "iris-r1"):
        for word in ("inspect", "logs"):
            argv = ["docker", word, f"{node.target.node}-{name}"]
            told.append(
                subprocess.run(argv, check=True, stdout=-1, stderr=subprocess.STDOUT, text=True).stdout
            )
    assert not [one for one in told if key in one or "PRIVATE" in one]


@pytest.mark.parametrize("http2", [False, True])
def test_a_body_that_does_not_say_its_length_goes_round_no_limit(node: LocalNode, http2: bool) -> None:
    text = certificate(NAME)
    put(node, text)
    node.confirmed(node.release(service="iris", hosts=secured(NAME), limits={"max_body": "1k"}))
    node.confirmed(node.release(service="free"))
    edge, sni = f"https://127.0.0.1:{node.target.tls_ports[0]}", {"sni_hostname": NAME}
    with httpx.Client(http2=http2, verify=trusting(text), headers={"Host": NAME}, timeout=10) as client:
        streamed = client.put(edge, content=iter([b"x" * 2000]), extensions=sni)
        assert (streamed.http_version, streamed.status_code) == ("HTTP/2" if http2 else "HTTP/1.1", 411)
        assert streamed.text == "a body needs a Content-Length here, of at most 1024 bytes\n"
        assert client.put(edge, content=b"x" * 2000, extensions=sni).status_code == 413
        assert client.get(edge, extensions=sni).status_code == 200
        assert client.put(edge, content=b"x" * 1000, extensions=sni).headers[RELEASE_HEADER] == "1"
    free = node.target.url(node.target.service_port("free", None))
    assert httpx.put(free, content=iter([b"x" * 2000]), timeout=10).status_code != 411


def test_a_service_is_told_how_its_users_came(node: LocalNode) -> None:
    text = certificate(NAME)
    put(node, text)
    program = {"entrypoint": ENTRYPOINT, "command": command()}
    node.confirmed(node.release(service="iris", hosts=secured(NAME), **program))
    spoofed = ask(node, trusting(text), **{"X-Forwarded-Proto": "http"})
    assert spoofed.json()["proto"] == ["https"]
    plain = node.release(service="plain", **program)
    node.confirmed(plain)
    url = node.target.url(plain.public_port)
    assert httpx.get(url, timeout=5).json()["proto"] == ["http"]
    balanced = httpx.get(url, headers={"X-Forwarded-Proto": "https"}, timeout=5)
    assert balanced.json()["proto"] == ["https"], "a load balancer ends TLS and says so"


def test_no_request_fails_while_a_certificate_is_replaced_and_another_host_comes(node: LocalNode) -> None:
    old, new = certificate(NAME, days=20), certificate(NAME, "churn.test", days=80)
    put(node, old)
    node.confirmed(node.release(service="iris", hosts=secured(NAME)))
    before = said(node).expires
    both, only_new = trusting(old, new), trusting(new)
    assert not shown(node, only_new)
    with users(node, both, keep_alive=True) as kept, users(node, both, keep_alive=False) as anew:
        put(node, new)
        wait_until(lambda: shown(node, only_new), 30)
        node.confirmed(node.release(service="churn", hosts=secured("churn.test")))
        node.confirmed(node.release(service="iris", hosts=secured(NAME)))
    assert kept + anew == []
    assert ask(node, only_new, "churn.test").headers[RELEASE_HEADER] == "2"
    wait_until(lambda: said(node).expires != before, 20)
    node.target._client().containers.get(f"{node.target.node}-edge").restart(timeout=0)
    wait_until(lambda: shown(node, only_new), 20)


def test_a_certificate_that_is_not_fit_is_reported_and_the_old_one_goes_on(node: LocalNode) -> None:
    good = certificate(NAME)
    put(node, good)
    node.confirmed(node.release(service="iris", hosts=secured(NAME)))
    for text, why in (
        (certificate(NAME, days=-1), "expired"),
        (certificate("x.test"), "not valid for 'iris"),
    ):
        put(node, text)
        wait_until(lambda why=why: why in said(node).problem, 20)
        assert shown(node, trusting(good))
    with pytest.raises(Failed, match=r"not valid for 'iris\.test'.*\n.*next: put a chain and its key"):
        node.verified(node.release(service="iris", hosts=secured(NAME)))
    with pytest.raises(Failed, match="'none-such' is not on this node"):
        node.verified(node.release(service="iris", hosts=secured(NAME, secret="none-such")))
    assert ask(node, trusting(good)).headers[RELEASE_HEADER] == "1"
    put(node, good)
    wait_until(lambda: not said(node).problem, 20)


def test_a_certificate_that_ends_soon_is_said(node: LocalNode) -> None:
    put(node, certificate(NAME, days=5))
    node.confirmed(node.release(service="iris", hosts=secured(NAME)))
    assert said(node).problem == "it ends soon"
    assert said(node).expires is not None
    assert time.time() < said(node).expires.timestamp() < time.time() + 6 * 86400
