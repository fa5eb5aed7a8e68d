"""An authority is asked for certificates: the real Pebble; a small HTTP server stands in for the edge."""

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from acme import messages
from acme.client import ClientNetwork

from blocks.acme import Account, Authority, Network
from blocks.acme_refusal import refusal
from blocks.certificate import held, new_key
from deployments.machine.home import free_ports
from releases.acme import CHALLENGES, Issuer
from releases.problem import BadInput, Refused, Unreachable
from tests.certificates import certificate
from tests.http_server import Answer, Request, serving
from tests.pebble import Pebble, pebble

KEY = new_key()


@dataclass
class Edge:
    """Answers challenges as an edge does, for the account with this thumbprint."""

    thumbprint: str
    port: int = 0

    def answer(self, request: Request) -> Answer:
        return Answer(f"{request.path.removeprefix(CHALLENGES)}.{self.thumbprint}".encode())


@pytest.fixture(scope="module")
def edge() -> Iterator[Edge]:
    made = Edge(Account(KEY).thumbprint)
    with serving(made.answer) as address:
        made.port = int(address.rpartition(":")[2])
        yield made


@pytest.fixture(scope="module")
def ca(edge: Edge, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    with pebble(tmp_path_factory.mktemp("pebble"), edge.port) as made:
        yield made


@pytest.fixture
def authority(ca: Pebble, monkeypatch: pytest.MonkeyPatch) -> Authority:
    monkeypatch.setenv("SSL_CERT_FILE", str(ca.trusted))
    return Authority(Issuer(contact="ops@example.com", directory=ca.directory), Account(KEY))


def test_a_certificate_for_every_name_with_its_key_and_chain(authority: Authority, ca: Pebble) -> None:
    text = authority.fetch(["iris.test", "www.iris.test"])
    got = held(text)
    assert got is not None
    assert got.names == ("iris.test", "www.iris.test")
    assert got.begins <= datetime.now(UTC) < got.ends
    assert got.issuer.startswith("Pebble")
    assert text.count("BEGIN CERTIFICATE") == 2
    assert KEY not in text, "the account's key is no certificate's"


def test_an_account_is_made_once(authority: Authority, ca: Pebble) -> None:
    authority.fetch(["iris.test"])
    again = Authority(authority.issuer, Account(KEY))
    again.fetch(["iris.test"])
    assert authority.net.account is not None
    assert again.net.account is not None
    assert authority.net.account.uri == again.net.account.uri


def test_a_name_that_leads_elsewhere_is_said_with_the_authoritys_words(
    authority: Authority, ca: Pebble
) -> None:
    ca.leads("astray.test", "127.0.0.9")
    with pytest.raises(Refused, match=r"does not reach astray\.test") as refused:
        authority.fetch(["iris.test", "astray.test"])
    assert "connection: " in refused.value.got
    assert refused.value.expected.startswith("the name leads to")
    assert refused.value.next_step == f"curl -i http://astray.test{CHALLENGES}x"
    ca.leads("nowhere.test", "")
    with pytest.raises(Refused, match=r"does not reach nowhere\.test") as refused:
        authority.fetch(["nowhere.test"])
    assert "could not resolve" in refused.value.got, "which Let's Encrypt calls `dns` instead"


def test_another_account_answering_is_said(authority: Authority, edge: Edge) -> None:
    was, edge.thumbprint = edge.thumbprint, "another"
    try:
        with pytest.raises(Refused, match=r"answered by somebody else than the edge at iris\.test"):
            authority.fetch(["iris.test"])
    finally:
        edge.thumbprint = was


def test_an_authority_that_is_away_or_not_trusted_is_no_refusal(
    ca: Pebble, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    away = Issuer(directory=f"https://localhost:{free_ports(1)[0]}/dir")
    with pytest.raises(Unreachable, match="authority does not answer"):
        Authority(away, Account(KEY)).fetch(["iris.test"])
    (tmp_path / "other.pem").write_text(certificate("other.test").partition("-----BEGIN PRIVATE")[0])
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "other.pem"))
    with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
        Authority(Issuer(directory=ca.directory), Account(KEY)).fetch(["iris.test"])


def test_a_refused_nonce_is_no_failure_and_any_other_error_is(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Any] = [messages.Error.with_code("badNonce")] * 3 + [
        "done",
        messages.Error.with_code("caa"),
    ]

    def post(_: object, url: str) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, messages.Error):
            raise answer
        return f"{url} {answer}"

    monkeypatch.setattr(ClientNetwork, "post", post)
    assert Network().post("order") == "order done"
    with pytest.raises(messages.Error, match="caa"):
        Network().post("order")
    answers += [messages.Error.with_code("badNonce")] * 9
    with pytest.raises(messages.Error, match="badNonce"):
        Network().post("order")


def test_no_answer_in_time_is_given_up(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blocks.acme.ORDER_SECONDS", 0.0)
    with pytest.raises(Unreachable, match="no certificate after 0 s"):
        authority.fetch(["iris.test"])


def test_a_secret_that_holds_no_account_key_is_said_without_showing_it() -> None:
    for text in ("s3cr3t", certificate("x.test").partition("-----BEGIN PRIVATE")[0]):
        with pytest.raises(BadInput, match="holds no key") as caught:
            Account(text)
        assert text not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "after", "what", "next_step"),
    [
        (
            "rateLimited",
            "3600",
            "has issued too much for iris.test lately",
            "not before 3600 s from now: model",
        ),
        (
            "rateLimited",
            "Wed, 25 Nov 2026 10:00:00 GMT",
            "has issued too much",
            "not before Wed, 25 Nov 2026 10",
        ),
        ("dns", "", "finds no address for iris.test", "dig +short iris.test"),
        ("caa", "", "may not issue for iris.test", "dig CAA iris.test"),
        ("rejectedIdentifier", "", "issues nothing for iris.test", "model-deploy certificates --renew"),
        ("badCSR", "", "refuses iris.test", "model-deploy certificates --renew"),
    ],
)
def test_what_a_refusal_says(kind: str, after: str, what: str, next_step: str) -> None:
    error = messages.Error.with_code(kind, detail="see the documentation")
    said = refusal(error, ["iris.test"], "https://ca.test/dir", after)
    assert isinstance(said, Refused)
    assert what in said.what
    assert said.next_step.startswith(next_step)
    assert said.got == f"{kind}: see the documentation"


def test_a_secret_without_a_certificate_that_fits_its_key_holds_none() -> None:
    good, other = certificate("iris.test", days=60), certificate("iris.test")
    got = held(good)
    assert got is not None
    assert got.names == ("iris.test",)
    assert timedelta(days=59) < got.ends - datetime.now(UTC) <= timedelta(days=60)
    chain, _, key = good.partition("-----BEGIN PRIVATE")
    mixed = chain + "-----BEGIN PRIVATE" + other.partition("-----BEGIN PRIVATE")[2]
    assert [held(text) for text in (None, "", "x", chain, f"-----BEGIN PRIVATE{key}", mixed)] == [None] * 6
    ssl.create_default_context().load_verify_locations(cadata=chain)
