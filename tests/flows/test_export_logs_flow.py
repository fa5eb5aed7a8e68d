"""The flow itself, on a real Prefect server: services' lines, flow runs' lines, and what the UI shows."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.logging import get_run_logger

from blocks.store import DirectoryStore
from flows import export_logs as module
from tests.agent.logs import follower, settle
from tests.flows.test_export_logs import lines, segments, write


@flow
def talks() -> None:
    get_run_logger().warning("remember this")


@pytest.mark.usefixtures("server")
def test_the_flow_exports_services_and_its_own_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = DirectoryStore(path=tmp_path / "store")
    monkeypatch.setattr(module, "load_environment", lambda _: SimpleNamespace(store=store))
    write(tmp_path, 0, 5000)
    settle(follower(tmp_path, "a"), "a")
    talks()
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
