"""What the daily flow leaves, fetches, puts off and reports; nobody issues here."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from prefect import flow
from prefect.artifacts import Artifact

from blocks.certificate import held
from blocks.environment import Environment
from blocks.image_builder import ImageBuilder
from blocks.image_registry import ImageRegistry
from blocks.store import DirectoryStore
from blocks.targets.local import LocalTarget
from flows import certificates as story
from flows import issuing
from flows.certificates import CertificatesResult, certificates
from flows.issuing import have_certificate
from flows.stopwatch import Stopwatch
from flows.turn import turn
from releases.acme import Held, Issuer, Wanted
from releases.problem import Failed, Refused, Unreachable
from releases.release import Outcome, Release, Verdict
from releases.rules import Rules
from releases.spec import Run
from tests.certificates import certificate

pytestmark = pytest.mark.usefixtures("server")


@pytest.fixture
def where(tmp_path: Path) -> Environment:
    made = Environment(
        name=f"e{uuid4().hex[:8]}",
        builder=ImageBuilder(),
        registry=ImageRegistry(prefix="localhost:1"),
        target=LocalTarget(home=tmp_path, ports=[1], tls_ports=[2], agent_image="none"),
        store=DirectoryStore(path=tmp_path / "store"),
        acme=Issuer(contact="ops@example.com", port=1),
        rules=Rules(notify=("e-mail/ops",)),
    )
    made.save(made.name)
    return made


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The secrets that were filled; the authority does not know names that begin with `bad`."""
    secrets: list[str] = []

    def fetch(where: Environment, one: Wanted) -> Held:
        if one.names[0].startswith("bad"):
            raise Refused(f"the authority does not reach {one.names[0]}")
        secrets.append(one.secret)
        where.target.secrets.add(one.secret, certificate(*one.names))
        found = held(where.target.secrets.read(one.secret))
        assert found is not None
        return found

    for module in (story, issuing):
        monkeypatch.setattr(module, "fetch", fetch)
    return secrets


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, str, str]]:
    """What the environment's people hear."""
    said: list[tuple[Any, str, str]] = []
    monkeypatch.setattr(story, "tell", lambda *words: said.append(words))
    return said


def live(where: Environment, service: str, *names: str, fetch: bool = True, secret: str = "") -> Run:
    hosts = {where.name: {"names": names, "acme": fetch, "certificate": secret}}
    run = Run.model_validate({"hosts": hosts}).naming_secrets(service)
    now = datetime.now(UTC)
    made = where.ledger(service).claim(
        lambda number: Release(
            service=service, environment=where.name, number=number, image="i@sha256:" + "0" * 64, version="1",
            port=80, public_port=2, run=run, confirm_window=60, created=now,
        )
    )  # fmt: skip
    outcome = Outcome(number=made.number, verdict=Verdict.confirmed, live=made.number, at=now)
    where.ledger(service).settle(outcome)
    return run


def put(where: Environment, service: str, text: str) -> None:
    where.target.secrets.add(f"{where.name}-{service}-tls", text)


def ran(where: Environment, **given: Any) -> CertificatesResult:
    result = certificates(environment=where.name, **given)
    assert isinstance(result, CertificatesResult)
    return result


def test_what_is_due_is_fetched_and_the_rest_is_left(
    where: Environment, fetched: list[str], told: list[Any]
) -> None:
    for service in ("fresh", "old", "renamed", "new"):
        live(where, service, f"{service}.test")
    live(where, "supplied", "supplied.test", fetch=False, secret="by-hand")
    put(where, "fresh", certificate("fresh.test", days=60))
    put(where, "old", certificate("old.test", days=0.3))
    put(where, "renamed", certificate("before.test", days=60))
    result = ran(where)
    done = {row.services[0]: row.done for row in result.rows}
    assert done["fresh"] == ""
    assert done["new"] == "fetched: there is none"
    assert done["old"].startswith("fetched: it ends on ")
    assert done["renamed"] == "fetched: it is not for renamed.test"
    assert "supplied" not in done
    assert all(row.until for row in result.rows)
    assert {row.done for row in ran(where).rows} == {""}, "once is enough"
    assert len(fetched) == 3
    assert ran(where, service="fresh", renew=True).rows[0].done == "fetched: asked for"
    assert fetched[3:] == [f"{where.name}-fresh-tls"]
    artifact = Artifact.get(f"certificates-{where.name}")
    assert artifact is not None
    assert "fresh.test" in str(artifact.data)
    assert told == []


def test_one_that_cannot_be_had_fails_the_run_and_holds_up_no_other(
    where: Environment, fetched: list[str], told: list[tuple[Any, str, str]]
) -> None:
    live(where, "bad", "bad.test")
    live(where, "good", "good.test")
    put(where, "bad", certificate("bad.test", days=0.1))
    before = where.target.secrets.read(f"{where.name}-bad-tls")
    with pytest.raises(Failed, match="1 of 2 certificates could not be had") as failed:
        ran(where)
    assert "does not reach bad.test" in failed.value.got
    assert fetched == [f"{where.name}-good-tls"]
    assert where.target.secrets.read(f"{where.name}-bad-tls") == before
    ((blocks, subject, body),) = told
    assert blocks == ("e-mail/ops",)
    assert subject == f"Failed: certificates of {where.name}: {where.name}-bad-tls"
    assert "does not reach bad.test" in body


def test_an_environment_whose_ledger_cannot_be_read_is_a_failure(
    where: Environment, told: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Iterator[Any]:
        raise Failed("the bucket is gone")
        yield

    monkeypatch.setattr(story, "live_releases", broken)
    with pytest.raises(Failed, match="could not be had") as failed:
        ran(where)
    assert "the bucket is gone" in failed.value.got


def test_an_environment_that_cannot_be_read_does_not_hold_the_others_up(
    where: Environment, fetched: list[str], told: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    live(where, "iris", "iris.test")
    monkeypatch.setattr(story, "environment_names", lambda: ["nowhere", where.name])
    with pytest.raises(Failed, match="could not be had") as failed:
        certificates()
    assert failed.value.got.startswith("nowhere: there is no environment nowhere")
    assert fetched == [f"{where.name}-iris-tls"]


def test_while_a_release_goes_on_it_is_put_off(where: Environment, fetched: list[str]) -> None:
    live(where, "iris", "iris.test")

    @flow(name="release")
    def while_it_goes_on() -> str:
        with turn("iris", where.name, "a release"):
            return ran(where).rows[0].done

    assert while_it_goes_on() == "put off, since a release is going on: there is none"
    assert fetched == []
    assert ran(where).rows[0].done == "fetched: there is none"


@flow
def before_a_release(where: Environment, service: str, run: Run) -> None:
    have_certificate(where, service, run, Stopwatch(lambda _: None))


def test_a_release_fetches_for_the_new_names_and_those_of_what_is_live(
    where: Environment, fetched: list[str]
) -> None:
    before = live(where, "iris", "iris.test")
    before_a_release(where, "iris", before)
    before_a_release(where, "iris", before)
    assert len(fetched) == 1
    hosts = {where.name: {"names": ["new.test"], "acme": True}}
    before_a_release(where, "iris", Run.model_validate({"hosts": hosts}).naming_secrets("iris"))
    found = held(where.target.secrets.read(f"{where.name}-iris-tls"))
    assert found is not None
    assert found.names == ("iris.test", "new.test"), "until the release is confirmed users come by both"
    put(where, "iris", certificate("iris.test", days=0.3))
    before_a_release(where, "iris", before)
    assert len(fetched) == 2, "a release waits for no renewal"


def test_without_acme_the_release_asks_for_nothing(where: Environment, fetched: list[str]) -> None:
    before_a_release(where, "iris", Run())
    hosts = {
        where.name: {"names": ["iris.test"], "certificate": "by-hand"},
        "other": {"names": ["o"], "acme": True},
    }
    before_a_release(where, "iris", Run.model_validate({"hosts": hosts}))
    assert fetched == []


def test_a_new_version_is_waited_for_until_nodes_would_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[str | None] = [None, "old", "new"]
    vault: Any = SimpleNamespace(read=lambda _: answers.pop(0))
    issuing.await_latest(vault, "tls", "new")
    assert answers == []
    monkeypatch.setattr(issuing, "LATEST_SECONDS", 0.0)
    late: Any = SimpleNamespace(read=lambda _: "old")
    with pytest.raises(Unreachable, match="the secret tls is not its latest yet"):
        issuing.await_latest(late, "tls", "new")


def test_an_environment_that_names_nobody_is_said_with_what_to_write(where: Environment) -> None:
    run = Run.model_validate({"hosts": {where.name: {"names": ["iris.test"], "acme": True}}})
    where.acme = None
    with pytest.raises(Refused, match=f"{where.name} names nobody who issues certificates") as caught:
        before_a_release(where, "iris", run.naming_secrets("iris"))
    assert caught.value.where == f"environments.{where.name}.acme in the environments' file"
    assert caught.value.got.endswith("`acme: true` in run.hosts of iris")
    where.acme = Issuer(port=80)
    with pytest.raises(Refused, match="no plain port 80"):
        before_a_release(where, "iris", run.naming_secrets("iris"))
    assert where.target.secrets.read(f"{where.name}-iris-tls") is None


def test_edges_that_do_not_answer_are_named_before_the_authority_is_asked(
    where: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuing, "EDGE_SECONDS", 0.0)
    run = Run.model_validate({"hosts": {where.name: {"names": ["iris.test"], "acme": True}}})
    with pytest.raises(
        Exception, match="the edges of 1 of 1 nodes do not answer ACME's challenges"
    ) as caught:
        before_a_release(where, "iris", run.naming_secrets("iris"))
    assert "http://127.0.0.1:1" in str(caught.value)
