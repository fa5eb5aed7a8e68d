"""The flow itself, on a real Prefect server: services' lines, flow runs' lines, and what the UI shows."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.logging import get_run_logger
from prefect.logging.handlers import APILogWorker

from blocks.store import DirectoryStore
from blocks.targets.container_declaration import ContainerDeclaration
from flows import export_logs as module
from releases.ledger import Ledger
from releases.problem import Failed, Unreachable
from tests.agent.logs import follower, settle
from tests.flows.test_export_cloud_logs import printed
from tests.flows.test_export_logs import lines, segments, write
from tests.releases.test_swap import release
from tests.sandbox.conftest import Cloud


@flow
def talks() -> None:
    get_run_logger().warning("remember this")


@pytest.mark.usefixtures("server")
def test_the_flow_exports_services_and_its_own_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = DirectoryStore(path=tmp_path / "store")
    monkeypatch.setattr(module, "load_environment", lambda _: SimpleNamespace(store=store, target=None))
    write(tmp_path, 0, 5000)
    settle(follower(tmp_path, "a"), "a")
    talks()
    APILogWorker.drain_all()  # Prefect sends lines every two seconds
    soon = datetime.now(UTC) + timedelta(hours=2)
    (result,) = module.export_logs(environment="local", until=soon)
    assert result.lines == 5000
    assert not result.gaps
    assert not segments(tmp_path / "store")
    module.export_logs(environment="local", until=soon)
    found = lines(tmp_path / "store")
    own = [each for each in found if "service=prefect" in each["path"]]
    assert [each["line"] for each in own].count("remember this") == 1
    assert len({each["id"] for each in own}) == len(own)
    assert len(found) - len(own) == 5000
    with get_client(sync_client=True) as client:
        assert "logs-local" in {artifact.key for artifact in client.read_latest_artifacts()}


@pytest.mark.usefixtures("server")
def test_a_gap_whose_report_failed_is_reported_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = DirectoryStore(path=tmp_path / "store")
    monkeypatch.setattr(module, "load_environment", lambda _: SimpleNamespace(store=store, target=None))
    write(tmp_path, 0, 500)
    settle(follower(tmp_path, "a"), "a")
    segments(tmp_path / "store")[0].write_bytes(b"spoilt")

    def fails(_: object) -> None:
        raise Unreachable("Prefect does not answer")

    with monkeypatch.context() as broken:
        broken.setattr(module, "report", fails)
        with pytest.raises(Failed):
            module.export_logs(environment="local")
    (result,) = module.export_logs(environment="local")
    assert len(result.gaps) == 1
    (again,) = module.export_logs(environment="local")
    assert not again.gaps


@pytest.mark.usefixtures("server")
def test_vms_without_an_agent_are_exported_from_cloud_logging(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = DirectoryStore(path=tmp_path / "store")
    (tmp_path / "token").write_text(cloud.at.token)
    target = ContainerDeclaration(
        project=cloud.project,
        zones=["europe-west1-b"],
        access_token_file=tmp_path / "token",
        logging_endpoint=cloud.at.api,
    )
    found = SimpleNamespace(store=store, target=target)
    monkeypatch.setattr(module, "load_environment", lambda _: found)
    Ledger(store, "iris", "old").claim(release)
    cloud.pass_time(-600)  # what comes in the last minutes waits for the next run
    printed(cloud, range(540))
    (result,) = module.export_logs(environment="old")
    assert (result.lines, len(result.parts)) == (540, 2)
