"""Which certificates a node has, and when it forgets one; a folder stands in for HAProxy."""

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent.certificates import Certificates
from agent.failure import StepFailed
from agent.pem import normal
from agent.secrets import SecretFiles
from releases.place import Place
from releases.release import Release
from releases.spec import Run
from tests.certificates import certificate


class Bench:
    def __init__(self, folder: Path) -> None:
        self.secrets, self.edge = folder / "secrets", folder / "edge"
        self.secrets.mkdir()
        (self.edge / "certs").mkdir(parents=True)
        self.places: dict[str, Any] = {}
        edge: Any = SimpleNamespace(
            folder=self.edge,
            services=self.places,
            certificates=lambda: sorted((self.edge / "certs").iterdir()),
            use_certificate=lambda path, text: path.write_text(text),
            forget_certificate=lambda path: path.unlink(),
        )
        self.certificates = Certificates(edge, SecretFiles(self.secrets))

    def serve(self, service: str, secret: str) -> None:
        place = Place(443, (f"{service}.test",), secret)
        self.places[service] = SimpleNamespace(places=(place,))

    def replace_one(self) -> None:
        """`old` serves, and a candidate with `new` is to follow."""
        for name in ("old", "new"):
            (self.secrets / name).write_text(certificate("iris.test"))
            self.certificates.require(release("iris", name))
        self.serve("iris", "old")

    def files(self) -> list[str]:
        return [path.name for path in sorted((self.edge / "certs").iterdir())]


def release(service: str, secret: str) -> Release:
    hosts = {"local": {"names": [f"{service}.test"], "certificate": secret}}
    return Release(
        service=service, environment="local", number=1, image="i@sha256:" + "0" * 64, version="1", port=80,
        public_port=443, run=Run.model_validate({"hosts": hosts}), confirm_window=60, created=datetime.now(UTC),
    )  # fmt: skip


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_candidates_certificate_is_kept_until_it_has_its_place_and_an_old_one_goes(bench: Bench) -> None:
    bench.replace_one()
    bench.certificates.prune("churn")
    assert bench.files() == ["new.pem", "old.pem"]
    bench.serve("iris", "new")
    bench.certificates.prune("iris")
    assert bench.files() == ["new.pem"]


def test_the_certificate_of_a_candidate_that_was_taken_back_goes(bench: Bench) -> None:
    bench.replace_one()
    bench.certificates.prune("iris")
    assert bench.files() == ["old.pem"], "the key of what nobody serves is still there"


def test_a_secret_that_is_away_takes_nothing_away_and_is_said(bench: Bench) -> None:
    (bench.secrets / "tls").write_text(certificate("iris.test"))
    bench.certificates.require(release("iris", "tls"))
    bench.serve("iris", "tls")
    (bench.secrets / "tls").unlink()
    bench.certificates.renew()
    status = bench.certificates.status(bench.places["iris"].places)
    assert status is not None
    assert "'tls' is not on this node" in status.problem
    assert status.expires is not None, "the one before is served"
    assert bench.files() == ["tls.pem"]


def test_a_secret_that_is_no_text_is_said_and_another_is_renewed_all_the_same(bench: Bench) -> None:
    for name in ("iris", "rose"):
        (bench.secrets / name).write_text(certificate(f"{name}.test"))
        bench.certificates.require(release(name, name))
        bench.serve(name, name)
    (bench.secrets / "iris").write_text(certificate("iris.test"), encoding="utf-16")  # PowerShell's `>`
    newer = certificate("rose.test", days=90)
    (bench.secrets / "rose").write_text(newer)
    bench.certificates.renew()
    status = bench.certificates.status(bench.places["iris"].places)
    assert status is not None
    assert status.problem == "the secret 'iris' is no UTF-8 text"
    assert status.expires is not None, "the one before is served"
    assert (bench.edge / "certs" / "rose.pem").read_text() == normal(newer)


def test_one_certificate_of_two_services_must_fit_both(bench: Bench) -> None:
    (bench.secrets / "tls").write_text(certificate("iris.test"))
    bench.serve("iris", "tls")
    with pytest.raises(StepFailed, match=r"not valid for 'churn\.test'"):
        bench.certificates.require(release("churn", "tls"))
    (bench.secrets / "tls").write_text(certificate("iris.test", "churn.test"))
    bench.certificates.require(release("churn", "tls"))
    (bench.secrets / "tls").write_text(certificate("churn.test"))
    with pytest.raises(StepFailed, match=r"not valid for 'iris\.test'"):
        bench.certificates.require(release("churn", "tls"))
