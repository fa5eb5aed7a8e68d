"""`model-deploy adopt` on a VM of the sandbox that Google's container startup agent runs."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace

import pytest
import yaml
from prefect.settings import PREFECT_API_URL, temporary_settings
from typer.testing import CliRunner

from blocks.store import DirectoryStore
from blocks.targets import adopting
from deployments import adopt_commands, cli, stack
from flows.turn import turn_if_free
from releases.ledger import Ledger
from releases.node_boot import ADOPTED_KEY
from releases.problem import Refused
from releases.release import Verdict
from releases.spec_file import parse_spec
from releases.volumes import Volume
from tests.blocks.targets.conftest import Vms, running_vms
from tests.blocks.targets.konlet import Boots
from tests.blocks.targets.test_container_declaration import DECLARED, old_vm
from tests.deployments.conftest import PrefectServer

CLOUD = {
    "project": "sandbox",
    "zone": "europe-west1-b",
    "ports": [80],
    "sources": ["10.0.0.0/8"],
    "machines": {"agent_image": "r/agent@sha256:1", "edge_image": "r/haproxy:3"},
}


@pytest.fixture
def vms(tmp_path: Path) -> Iterator[Vms]:
    with running_vms(tmp_path, Boots) as made:
        yield made


@pytest.fixture
def prefect(prefect_server: PrefectServer) -> Iterator[None]:
    with temporary_settings({PREFECT_API_URL: stack.api_url(prefect_server.home)}):
        yield


def production(
    vms: Vms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: str = "iris"
) -> tuple[Ledger, str, Path]:
    """The environment that `adopt` finds: its ledger, its only image, its file."""
    file = tmp_path / "environments.yaml"
    file.write_text(yaml.safe_dump({"environments": {"production": {"cloud": CLOUD}}}))
    ledger = Ledger(DirectoryStore(path=tmp_path / "store"), service, "production")
    digest = f"gcr.io/acme/iris@sha256:{1:064x}"
    where = SimpleNamespace(
        name="production",
        target=vms.target(),
        registry=SimpleNamespace(prefix="gcr.io/acme", find=lambda *_: digest),
        ledger=lambda _: ledger,
    )
    monkeypatch.setattr(adopt_commands, "connected", lambda **_: nullcontext())
    monkeypatch.setattr(adopt_commands, "load", lambda _: where)
    return ledger, digest, file


@pytest.mark.usefixtures("prefect")
def test_it_shows_then_refuses_then_does(vms: Vms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = DECLARED.replace("spec:", "spec:\n  hostPID: true", 1).replace("env:", "command: [/run]\n    env:")
    old_vm(vms, "a", text)
    ledger, digest, file = production(vms, tmp_path, monkeypatch)
    words = ["adopt", "a", "-e", "production", "--service", "iris", "--port", "8000", "--file", str(file)]
    refused = CliRunner().invoke(cli.app, words)
    assert isinstance(refused.exception, Refused)
    assert "hostPID" in refused.exception.next_step
    before = vms.cloud.world.instances["sandbox", "europe-west1-b", "a"].metadata()
    words += ["--accept", "hostPID"]
    shown = CliRunner().invoke(cli.app, words)
    assert shown.exit_code == 0, shown
    assert f"gcr.io/acme/iris:1  ->  {digest}" in shown.stdout
    assert "set-service-account VM --scopes=cloud-platform" in shown.stdout
    assert "enable-guest-attributes=TRUE" in shown.stdout
    assert "nothing was changed" in shown.stdout
    spec = parse_spec(dedent(shown.stdout.split("is the same:\n")[1].split("\nthen:")[0]))
    assert vms.cloud.world.instances["sandbox", "europe-west1-b", "a"].metadata() == before
    assert ledger.entries() == []
    with turn_if_free("iris", "production") as free:
        assert free
        refused = CliRunner().invoke(cli.app, [*words, "--yes"])
    assert isinstance(refused.exception, Refused)
    assert refused.exception.what == "a release of iris is going on in production"
    assert ledger.entries() == []
    assert vms.cloud.world.instances["sandbox", "europe-west1-b", "a"].metadata() == before

    def stopped(*_: object) -> None:
        with turn_if_free("iris", "production") as free:
            assert not free, "it holds the turn while it works"
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(adopting, "_wait_for", stopped)
        CliRunner().invoke(cli.app, [*words, "--yes"])
    assert vms.cloud.world.instances["sandbox", "europe-west1-b", "a"].metadata() == before
    assert [one.outcome.verdict for one in ledger.entries() if one.outcome] == [Verdict.failed]

    done = CliRunner().invoke(cli.app, [*words, "--yes"])
    assert done.exit_code == 0, done
    assert vms.live() == {"a": "2"}
    metadata = vms.metadata_of("a")
    assert metadata["user-data"].startswith("#cloud-config")
    live = ledger.live()
    assert live is not None
    run = live.release.run
    assert (live.release.image, run.env, run.entrypoint) == (digest, {"MODE": "fast"}, ["/run"])
    assert run.volumes == [Volume(path="/data", host="/mnt/data")]
    assert run == spec.run, "what was shown is what runs"
    assert not {ADOPTED_KEY, "gce-container-declaration"} & metadata.keys()


@pytest.mark.usefixtures("prefect")
def test_killed_before_its_last_word_it_only_ends_what_was_begun(
    vms: Vms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_vm(vms, "a")
    ledger, _, file = production(vms, tmp_path, monkeypatch, "rose")
    words = ["adopt", "a", "-e", "production", "--service", "rose", "--port", "8000", "--file", str(file)]

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(adopt_commands, "_record", lambda *_: None)
        patched.setattr(adopting, "finish", killed)
        assert CliRunner().invoke(cli.app, [*words, "--yes"]).exit_code != 0
    assert ADOPTED_KEY in vms.metadata_of("a")
    assert [one.outcome for one in ledger.entries()] == [None]
    boots = list(vms.boots.boots)
    done = CliRunner().invoke(cli.app, [*words, "--yes"])
    assert done.exit_code == 0, done
    assert "rose release 1 is live" in done.stdout
    assert [one.confirmed for one in ledger.entries()] == [True]
    assert ADOPTED_KEY not in vms.metadata_of("a")
    assert vms.boots.boots == boots, "it was not restarted for nothing"
