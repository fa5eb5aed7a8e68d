"""`model-deploy adopt` on a VM of the sandbox that Google's container startup agent runs."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from typer.testing import CliRunner

from blocks.store import DirectoryStore
from deployments import cli
from releases.ledger import Ledger
from releases.problem import Refused
from tests.blocks.targets.conftest import Vms, running_vms
from tests.blocks.targets.konlet import Boots
from tests.blocks.targets.test_container_declaration import old_vm

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


def test_it_shows_then_refuses_then_does(vms: Vms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old_vm(vms, "a")
    file = tmp_path / "environments.yaml"
    file.write_text(yaml.safe_dump({"environments": {"production": {"cloud": CLOUD}}}))
    ledger = Ledger(DirectoryStore(path=tmp_path / "store"), "iris", "production")
    digest = f"gcr.io/acme/iris@sha256:{1:064x}"
    where = SimpleNamespace(
        name="production",
        target=vms.target(),
        registry=SimpleNamespace(prefix="gcr.io/acme", find=lambda *_: digest),
        ledger=lambda _: ledger,
    )
    monkeypatch.setattr(cli, "connected", lambda **_: nullcontext())
    monkeypatch.setattr(cli, "load", lambda _: where)
    words = ["adopt", "a", "-e", "production", "--service", "iris", "--port", "8000", "--file", str(file)]
    refused = CliRunner().invoke(cli.app, words)
    assert isinstance(refused.exception, Refused)
    assert "volume.data" in refused.exception.next_step
    before = vms.cloud.world.instances["sandbox", "europe-west1-b", "a"].metadata()
    words += ["--accept", "volume.data"]
    shown = CliRunner().invoke(cli.app, words)
    assert shown.exit_code == 0, shown
    assert f"gcr.io/acme/iris:1  ->  {digest}" in shown.stdout
    assert "nothing was changed" in shown.stdout
    assert vms.cloud.world.instances["sandbox", "europe-west1-b", "a"].metadata() == before
    assert ledger.entries() == []
    done = CliRunner().invoke(cli.app, [*words, "--yes"])
    assert done.exit_code == 0, done
    assert vms.live() == {"a": "1"}
    metadata = vms.metadata_of("a")
    assert metadata["user-data"].startswith("#cloud-config")
    assert "gce-container-declaration" not in metadata
    live = ledger.live()
    assert live is not None
    assert (live.release.image, live.release.run.env) == (digest, {"MODE": "fast"})
