"""From Pebble into Secret Manager: the flow on a fleet, with the real authority and the sandbox."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prefect import flow

from blocks.certificate import held
from blocks.environment import Environment
from blocks.image_builder import ImageBuilder
from blocks.image_registry import ImageRegistry
from flows import certificates
from flows.certificates import Row
from flows.issuing import have_certificate
from flows.stopwatch import Stopwatch
from releases.acme import Issuer
from releases.problem import Refused
from releases.release import Outcome, Release, Verdict
from releases.spec import Run
from tests.blocks.buckets import cloud_store
from tests.blocks.targets.conftest import Vms, vms  # noqa: F401 - a fixture
from tests.certificates import certificate
from tests.pebble import Pebble, pebble
from tests.releases import test_swap

SECRETS = ("production-acme-account", "production-iris-tls")


@pytest.fixture
def ca(vms: Vms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pebble]:  # noqa: F811
    with pebble(tmp_path / "pebble", vms.agents.port) as made:
        monkeypatch.setenv("SSL_CERT_FILE", str(made.trusted))
        yield made


@pytest.fixture
def production(server: None, ca: Pebble, vms: Vms, tmp_path: Path) -> Environment:  # noqa: F811
    for name in SECRETS:
        path = f"/v1/projects/{vms.cloud.project}/secrets?secretId={name}"
        vms.cloud.call("POST", path, json={"replication": {"automatic": {}}}).raise_for_status()
    return Environment(
        name="production",
        builder=ImageBuilder(),
        registry=ImageRegistry(prefix="localhost:1"),
        target=vms.target(secrets_endpoint=vms.cloud.at.api, tls_ports=[1]),
        store=cloud_store(vms.cloud, tmp_path),
        acme=Issuer(contact="ops@example.com", directory=ca.directory, port=vms.agents.port),
    )


def versions(vms: Vms, name: str) -> list[bytes]:  # noqa: F811
    project = next(key[0] for key in vms.cloud.world.secrets)
    return [data for _, data in vms.cloud.world.secrets[project, name].versions]


@flow
def before_a_release(where: Environment, run: Run) -> None:
    have_certificate(where, "iris", run, Stopwatch(lambda _: None))


@flow
def look_after_all(where: Environment, service: str, renew: bool) -> list[Row]:
    return certificates.look_after_all(where, service, renew)


def released(where: Environment, service: str, run: Run) -> None:
    def make(number: int) -> Release:
        return test_swap.release(number).model_copy(
            update={"service": service, "environment": where.name, "run": run}
        )

    number, now = where.ledger(service).claim(make).number, datetime.now(UTC)
    where.ledger(service).settle(Outcome(number=number, verdict=Verdict.confirmed, live=number, at=now))


def wants(*names: str) -> Run:
    return Run.model_validate({"hosts": {"production": {"names": names, "acme": True}}}).naming_secrets(
        "iris"
    )


def test_any_node_answers_and_the_certificate_is_a_version_of_its_secret(
    production: Environment,
    ca: Pebble,
    vms: Vms,  # noqa: F811
) -> None:
    vms.add("a", "b")
    for node, name in (("a", "iris.test"), ("b", "www.iris.test")):  # whichever node a name leads to
        ca.leads(name, vms.agents.of[node].vm.address)
    before_a_release(production, wants("iris.test", "www.iris.test"))
    (account,), (text,) = (versions(vms, name) for name in SECRETS)
    found = held(text.decode())
    assert found is not None
    assert found.names == ("iris.test", "www.iris.test")
    before_a_release(production, wants("iris.test", "www.iris.test"))
    assert [len(versions(vms, name)) for name in SECRETS] == [1, 1]

    ca.leads("new.test", "127.0.0.9")
    with pytest.raises(Refused, match=r"does not reach new\.test"):
        before_a_release(production, wants("iris.test", "new.test"))
    same = [versions(vms, name) for name in SECRETS] == [[account], [text]]
    assert same
    ca.leads("new.test", vms.agents.of["b"].vm.address)
    before_a_release(production, wants("iris.test", "new.test"))
    assert [len(versions(vms, name)) for name in SECRETS] == [1, 2]

    # Renewed years later: what has ended goes, but not what a release still names, nor what is no certificate.
    for value in (certificate("iris.test", days=-1), "a note", certificate("iris.test", days=-1)):
        production.target.secrets.add(SECRETS[1], value)
    for service, secrets in (("iris", {}), ("other", {"OLD": f"{SECRETS[1]}/versions/3"})):
        released(production, service, wants("iris.test", "new.test").model_copy(update={"secrets": secrets}))
    ((row,), (again,)) = (look_after_all(production, "iris", renew=False) for _ in range(2))
    assert (row.done.partition(":")[0], again.done, row.problem) == ("fetched", "", "")
    assert [bool(one) for one in versions(vms, SECRETS[1])] == [True, True, True, True, False, True]
    assert len(versions(vms, SECRETS[0])) == 1

    said = [str(vms.metadata_of(name)) for name in vms.names] + [str(production.model_dump())]
    keys = [one.decode().partition("PRIVATE KEY-----\n")[2][:60] for one in (account, text)]
    leaks = sum("PRIVATE" in one or any(key in one for key in keys) for one in said)
    assert leaks == 0
