"""The flow itself, on a real Prefect server: services' lines, flow runs' lines, and what the UI shows."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import LogCreate
from prefect.client.schemas.objects import Log
from prefect.logging import get_run_logger
from prefect.logging.handlers import APILogWorker

from blocks import flow_run_logs
from blocks.store import DirectoryStore
from blocks.targets.container_declaration import ContainerDeclaration
from flows import export_logs as module
from releases.ledger import Ledger
from releases.problem import Failed, Unreachable
from tests.flows.test_export_cloud_logs import printed
from tests.flows.test_export_logs import lines, logged, segments
from tests.releases.test_swap import release
from tests.sandbox.conftest import Cloud


@pytest.fixture
def environment(store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that the flow finds: a store, and VMs of no kind."""
    monkeypatch.setattr(module, "load_environment", lambda _: SimpleNamespace(store=store, target=None))


@flow
def talks() -> None:
    get_run_logger().warning("remember this")


@flow
def talks_of(environment: str) -> None:
    get_run_logger().warning("remember %s", environment)


@pytest.mark.usefixtures("server", "environment")
def test_the_flow_exports_services_and_its_own_server(tmp_path: Path) -> None:
    logged(tmp_path, 0, 5000)
    talks()
    talks_of("local")
    talks_of("production")
    APILogWorker.drain_all()  # Prefect sends lines every two seconds
    soon = datetime.now(UTC) + timedelta(hours=2)
    (result,) = module.export_logs(environment="local", until=soon)
    assert result.lines == 5000
    assert not result.gaps
    assert not segments(tmp_path / "store")
    module.export_logs(environment="local", until=soon)
    found = lines(tmp_path / "store")
    own = [each for each in found if "service=prefect" in each["path"]]
    said = [each["line"] for each in own]
    assert [said.count(f"remember {what}") for what in ("this", "local", "production")] == [1, 1, 0]
    assert len({each["id"] for each in own}) == len(own)
    assert len(found) - len(own) == 5000
    with get_client(sync_client=True) as client:
        assert "logs-local" in {artifact.key for artifact in client.read_latest_artifacts()}


@pytest.mark.usefixtures("server", "environment")
def test_the_hours_in_which_no_export_ran_are_made_up_for(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    module.export_logs(environment="local", until=now - timedelta(hours=30))
    with get_client(sync_client=True) as client:
        made = client.create_flow_run(talks)
        client.create_logs(
            [
                LogCreate(
                    name="n",
                    level=20,
                    message="long ago",
                    timestamp=now - timedelta(hours=25),
                    flow_run_id=made.id,
                )
            ]
        )
    module.export_logs(environment="local", until=now)
    assert [each["line"] for each in lines(tmp_path / "store")].count("long ago") == 1


def test_two_exports_at_once_write_a_late_line_once(
    store: DirectoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hour = datetime(2026, 11, 24, 10, tzinfo=UTC)
    logs = [
        Log(name="n", level=20, message=word, timestamp=hour, flow_run_id=uuid4())
        for word in ("early", "late")
    ]
    seen = logs[:1]
    monkeypatch.setattr(flow_run_logs, "_logs", lambda *_: iter(seen))

    class Slow:
        """While it uploads, another export sees one line more and is faster."""

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        def upload(self, key: str, file: Path) -> str:
            if len(seen) == 1:
                seen.append(logs[1])
                flow_run_logs.export_hour(store, "local", hour)
            return store.upload(key, file)

    flow_run_logs.export_hour(Slow(), "local", hour)  # type: ignore[arg-type]
    assert sorted(each["line"] for each in lines(tmp_path / "store")) == ["early", "late"]


@pytest.mark.usefixtures("server", "environment")
def test_a_gap_whose_report_failed_is_reported_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged(tmp_path, 0, 500)
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
    cloud: Cloud, store: DirectoryStore, token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = ContainerDeclaration(
        project=cloud.project,
        zones=["europe-west1-b"],
        access_token_file=token_file,
        logging_endpoint=cloud.at.api,
    )
    found = SimpleNamespace(store=store, target=target)
    monkeypatch.setattr(module, "load_environment", lambda _: found)
    Ledger(store, "iris", "old").claim(release)
    cloud.pass_time(-600)  # what comes in the last minutes waits for the next run
    printed(cloud, range(540))
    (result,) = module.export_logs(environment="old")
    assert (result.lines, len(result.parts)) == (540, 2)
