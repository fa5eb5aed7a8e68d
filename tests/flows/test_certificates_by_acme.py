"""Certificates by ACME from the first release to a renewal: Pebble, the real agent, edge and command line."""

import hashlib
import json
import signal
import ssl
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from deployments.machine.home import free_ports
from releases.status import RELEASE_HEADER
from tests.controllers import Done, wait_until
from tests.pebble import Pebble, pebble
from tests.place import Place, command
from tests.place import place as make_place
from tests.users import asking

pytestmark = pytest.mark.containers
ENVIRONMENTS = """
environments:
  local:
    registry: {prefix: "${registry}"}
    target: {home: "${home}", node: "${node}", ports: "${ports}", tls_ports: [%d]}
    store: {path: "${home}/store"}
    acme: {contact: ops@example.com, directory: "%s", port: %d}
"""
SPEC = """
name: sample
run:
  health: {path: /healthz, timeout: 5}
  stop_grace: 1
  drain: 2
  hosts: {local: {names: [%s], acme: true}}
smoke: [{name: right, path: /, expect: {json: {answer: right}}}]
confirm: {window: 30}
"""
NAME, SECRET, ACCOUNT = "iris.test", "local-sample-tls", "local-acme-account"
ISSUED = "Issued certificate serial"


@dataclass
class Secured:
    """A machine whose environment names Pebble."""

    place: Place
    ca: Pebble
    tls_port: int

    def release(self, *names: str) -> Done:
        self.place.commit(spec=SPEC % ", ".join(names))
        return self.place.model_deploy("release", ".")

    def released(self) -> None:
        done = self.release(NAME)
        assert done.returncode == 0, done.stderr

    @property
    def secrets(self) -> Path:
        return self.place.home.secrets

    def client(self) -> httpx.Client:
        """A user who trusts Pebble and nobody else."""
        trusted = ssl.create_default_context(cadata=self.ca.root())
        return httpx.Client(verify=trusted, timeout=10)

    def ask(self, client: httpx.Client, name: str = NAME) -> httpx.Response:
        url = f"https://127.0.0.1:{self.tls_port}/"
        return client.get(url, headers={"Host": name}, extensions={"sni_hostname": name})

    def shown(self, name: str = NAME) -> bytes:
        """The certificate that a new user is shown."""
        with (
            self.client() as client,
            client.stream(
                "GET",
                f"https://127.0.0.1:{self.tls_port}/",
                headers={"Host": name},
                extensions={"sni_hostname": name},
            ) as answer,
        ):
            found = answer.extensions["network_stream"].get_extra_info("ssl_object").getpeercert(True)
        return bytes(found)

    def live(self, name: str = NAME) -> str:
        with self.client() as client:
            return self.ask(client, name).headers[RELEASE_HEADER]

    def users(self) -> AbstractContextManager[list[str]]:
        return asking(self.ask, self.client, [True, True, False, False])


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("acme")
    with pytest.MonkeyPatch.context() as patch, pebble(folder / "pebble") as ca:
        patch.setenv("SSL_CERT_FILE", str(ca.trusted))
        with make_place(folder / "place") as place:
            port, tls_port = place.home.chosen().edge_ports[0], free_ports(1)[0]
            ca.start(port)
            file = folder / "environments.yaml"
            file.write_text(ENVIRONMENTS % (tls_port, ca.directory, port))
            applied = command(place, "apply", str(file))
            assert applied.returncode == 0, applied.stderr
            assert "local: unchanged" in command(place, "apply", str(file)).stdout
            yield Secured(place, ca, tls_port)


def version(secret: Path) -> str:
    """Tells one from another, and shows nothing where a test fails."""
    return hashlib.sha256(secret.read_bytes()).hexdigest()


def keys_in(*files: Path) -> list[str]:
    """A piece of each private key."""
    return [one.read_text().partition("PRIVATE KEY-----\n")[2][:60] for one in files]


def test_a_first_release_comes_live_with_a_certificate_of_its_own(secured: Secured) -> None:
    done = secured.release(NAME)
    assert done.returncode == 0, done.stderr
    assert secured.live() == "1"
    with secured.client() as client, pytest.raises(httpx.ConnectError):
        secured.ask(client, "other.test")
    files = [secured.secrets / SECRET, secured.secrets / ACCOUNT]
    assert [stat.S_IMODE(one.stat().st_mode) for one in files] == [0o600, 0o600]
    assert sorted(one.name for one in secured.secrets.iterdir()) == sorted([SECRET, ACCOUNT])

    issued, account = secured.ca.times(ISSUED), version(files[1])
    shown = secured.shown()
    secured.released()
    secured.released()
    assert "certificate          done" in done.stdout
    assert secured.ca.times(ISSUED) == issued, "one that is there and fit is left as it is"
    assert secured.shown() == shown
    assert version(files[1]) == account

    place = secured.place
    told = [done.stdout, done.stderr, (place.home.node_folder / "desired.json").read_text()]
    told += [json.dumps(place.api("POST", f"/{kind}/filter")) for kind in ("logs", "artifacts", "flow_runs")]
    told += [json.dumps(place.api("POST", "/task_runs/filter")), (place.home.path / "server.log").read_text()]
    ledger = place.home.store / "releases"
    told += [one.read_text() for one in ledger.rglob("*.json")]
    told += [
        one.read_text(errors="replace") for one in place.home.prefect.rglob("storage/*") if one.is_file()
    ]
    for key in keys_in(*files):
        assert len(key) == 60
        leaks = sum(key in one or "PRIVATE KEY" in one for one in told)
        assert leaks == 0


def test_a_rollback_fetches_what_its_names_need(secured: Secured) -> None:
    secured.released()
    secured.released()
    (secured.secrets / SECRET).unlink()
    done = secured.place.model_deploy("rollback", "sample")
    assert done.returncode == 0, done.stderr
    assert "certificate          done" in done.stdout
    chain = (secured.secrets / SECRET).read_text().count("BEGIN CERTIFICATE")
    assert chain == 2
    with secured.client() as client:
        assert secured.ask(client).json()["answer"] == "right"


def test_no_request_fails_while_a_certificate_is_renewed(secured: Secured) -> None:
    secured.released()
    before, account = secured.shown(), version(secured.secrets / ACCOUNT)
    with secured.users() as failures:
        done = secured.place.model_deploy("certificates", "-e", "local", "--renew")
        assert done.returncode == 0, done.stderr
        wait_until(lambda: secured.shown() != before, 30)
    assert failures == []
    assert version(secured.secrets / ACCOUNT) == account
    assert f"local: {SECRET}: fetched: asked for, until " in done.stdout
    said = secured.place.model_deploy("certificates")
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith(f"local/sample: {NAME}: by ACME from localhost, secret {SECRET}, until 20")


def test_an_authority_that_refuses_leaves_everything_as_it_was(secured: Secured) -> None:
    secured.released()
    live, shown, secret = secured.live(), secured.shown(), version(secured.secrets / SECRET)
    releases = sorted((secured.place.home.store / "releases").rglob("*.json"))
    secured.ca.leads("astray.test", "127.0.0.9")
    done = secured.release(NAME, "astray.test")
    assert done.returncode == 3, done.stderr
    assert "error: the certificate authority does not reach astray.test" in done.stderr
    assert "connection: " in done.stderr
    assert "next: curl -i http://astray.test/.well-known/acme-challenge/x" in done.stderr
    assert "tests and build" not in done.stdout
    assert (secured.live(), secured.shown()) == (live, shown)
    assert version(secured.secrets / SECRET) == secret
    assert sorted((secured.place.home.store / "releases").rglob("*.json")) == releases
    assert secured.place.states("release")[0] == "Failed"

    secured.ca.leads("astray.test")
    done = secured.release(NAME, "astray.test")
    assert done.returncode == 0, done.stderr
    assert secured.live("astray.test") == secured.live()


def test_killed_between_the_order_and_the_secret_it_begins_again(secured: Secured) -> None:
    secured.released()
    shown, account = secured.shown(), version(secured.secrets / ACCOUNT)
    issued = secured.ca.times(ISSUED)
    secret = version(secured.secrets / SECRET)
    killed = secured.place.start("certificates", "-e", "local", "--renew")
    wait_until(lambda: secured.ca.times(ISSUED) > issued or killed.ended, 60)
    killed.signal(signal.SIGKILL)
    killed.wait()
    assert version(secured.secrets / SECRET) == secret, "killed too late to show anything"
    assert secured.shown() == shown
    secured.place.forget_leases()
    done = secured.place.model_deploy("certificates", "-e", "local", "--renew")
    assert done.returncode == 0, done.stderr
    assert secured.ca.times(ISSUED) == issued + 2
    assert version(secured.secrets / ACCOUNT) == account
    wait_until(lambda: secured.shown() != shown, 30)
    assert sorted(one.name for one in secured.secrets.iterdir()) == sorted([SECRET, ACCOUNT])
