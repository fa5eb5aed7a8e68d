"""Lines of VMs without the agent: from Cloud Logging into the same layout, each once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from blocks import cloud_logging
from blocks.cloud_log_export import CloudLogExport
from blocks.cloud_logging import CloudLogging
from blocks.log_export import Exported
from blocks.log_reader import LogHistory
from blocks.store import DirectoryStore
from blocks.targets.container_declaration import ContainerDeclaration
from deployments.log_commands import stream
from releases.cloud_log import container_name, record_key
from releases.problem import Refused, Unreachable
from tests.flaky_store import FlakyStore
from tests.flows.test_export_logs import lines
from tests.killed_work import export_cloud_log_in
from tests.killing import Killer
from tests.sandbox.conftest import Cloud

if TYPE_CHECKING:
    from blocks.environment import Environment

END = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
COS = "cos.googleapis.com/"
KILLS = 50


@pytest.fixture(autouse=True)
def several_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud_logging, "PAGE", 70)


def printed(cloud: Cloud, numbers: range, *, service: str = "iris", environment: str = "old") -> None:
    """As the logging agent of Container-Optimized OS sends lines: every ten seconds, from 90 minutes before END."""
    entries = [
        {
            "logName": f"projects/{cloud.project}/logs/cos_containers",
            "resource": {"type": "gce_instance", "labels": {"instance_id": "42", "zone": "europe-west1-b"}},
            "labels": {"compute.googleapis.com/resource_name": "6c8ca6aa99cd"},
            "timestamp": f"{END - timedelta(minutes=90) + timedelta(seconds=10 * number):%Y-%m-%dT%H:%M:%S.%fZ}",
            "insertId": f"{service}{environment}{number}",
            "jsonPayload": {
                "message": f"{number}\n",
                f"{COS}stream": "stderr",
                f"{COS}container_id": "ab" * 32,
                f"{COS}container_name": f"klt-{container_name(service, environment, 7)}-qwer",
            },
        }
        for number in numbers
    ]
    cloud.call("POST", "/v2/entries:write", json={"entries": entries}).raise_for_status()


def export(store: Any, logs: CloudLogging, end: datetime = END, ahead: float = 0) -> Exported:
    """`ahead`: minutes from now at which it runs."""
    received = datetime.now(UTC) + timedelta(minutes=ahead)
    return CloudLogExport(store, logs, "iris", "old").run(end, received)


def numbers(store: DirectoryStore) -> list[int]:
    return sorted(int(each["line"]) for each in lines(store.path))


def parts(store: DirectoryStore) -> list[str]:
    return list(store.list("logs/service=iris/"))


def test_two_hours_become_an_object_each_and_are_read_as_any_others(
    cloud: Cloud, logs: CloudLogging, store: DirectoryStore, tmp_path: Path
) -> None:
    printed(cloud, range(540))
    printed(cloud, range(10), service="other")
    printed(cloud, range(10), environment="new")
    done = export(store, logs)
    assert (done.lines, len(done.parts)) == (540, 2)
    assert numbers(store) == [*range(540)]
    found = lines(store.path)
    assert all(f"date={each['time'][:10]}/hour={each['time'][11:13]}" in each["path"] for each in found)
    own = {name: value for name, value in found[0].items() if name not in {"path", "time", "line", "id"}}
    assert own == {
        "node": "42",
        "container": "abababababab",
        "release": 7,
        "model_version": "",
        "stream": "stderr",
    }
    history = LogHistory(store, "iris", "old", tmp_path)
    history.look(END - timedelta(hours=1))
    assert [int(line.text) for line in history.lines(END - timedelta(hours=1))] == [*range(180, 540)]


def test_history_goes_on_with_the_lines_of_the_hour_that_is_not_over(
    cloud: Cloud, logs: CloudLogging, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed(cloud, range(540))
    export(store, logs, END - timedelta(hours=1))
    printed(cloud, range(5), service="other")
    target = ContainerDeclaration.model_construct()
    monkeypatch.setattr(ContainerDeclaration, "cloud_logging", logs)
    old = cast("Environment", SimpleNamespace(name="old", store=store, target=target))
    key = record_key("iris", "old")
    before, _ = store.read(key)
    for _ in range(3):
        with stream(old, "iris", END - timedelta(minutes=80)) as found:
            assert [int(line.text) for line in found] == [*range(60, 540)]
        export(store, logs)
        # An export that goes on meanwhile: its parts are there before it says so.
        store.replace(key, before, store.read(key)[1])


def test_the_hour_that_is_not_over_waits_and_a_second_run_changes_nothing(
    cloud: Cloud, logs: CloudLogging, store: DirectoryStore
) -> None:
    printed(cloud, range(540))
    export(store, logs, END - timedelta(hours=1))
    assert numbers(store) == [*range(180)]
    export(store, logs)
    before = parts(store)
    assert numbers(store) == [*range(540)]
    assert export(store, logs).parts == []
    assert parts(store) == before


def test_what_comes_late_or_twice_is_a_further_part_without_repeats(
    cloud: Cloud, logs: CloudLogging, store: DirectoryStore
) -> None:
    printed(cloud, range(0, 300, 2))
    export(store, logs)
    printed(cloud, range(300))  # the agent sends again what it has had no answer for
    cloud.pass_time(600)
    printed(cloud, range(300, 320))
    export(store, logs, ahead=5)
    assert numbers(store) == [*range(300)]
    export(store, logs, ahead=15)
    assert numbers(store) == [*range(320)]
    assert len(parts(store)) == 5  # two in the first hour, three in the second


def test_lines_that_are_json_are_json_again(cloud: Cloud, logs: CloudLogging, store: DirectoryStore) -> None:
    entry = {
        "logName": f"projects/{cloud.project}/logs/cos_containers",
        "resource": {"type": "gce_instance", "labels": {"instance_id": "42"}},
        "timestamp": f"{END - timedelta(minutes=1):%Y-%m-%dT%H:%M:%SZ}",
        "jsonPayload": {
            "inputs": {"a": 1.5},
            "message": "predicted",
            f"{COS}container_name": f"klt-{container_name('iris', 'old', 12)}-abcd",
        },
    }
    cloud.call("POST", "/v2/entries:write", json={"entries": [entry]}).raise_for_status()
    export(store, logs)
    (line,) = lines(store.path)
    assert line["line"] == '{"inputs":{"a":1.5},"message":"predicted"}'
    assert line["release"] == 12


@pytest.mark.parametrize("seed", range(4))
def test_a_store_that_fails_gets_every_line_once_in_the_same_objects(
    cloud: Cloud, logs: CloudLogging, store: DirectoryStore, tmp_path: Path, seed: int
) -> None:
    printed(cloud, range(540))
    flaky, received = FlakyStore(store, seed, share=0.2), datetime.now(UTC) + timedelta(minutes=1)
    failures = 0
    for _ in range(300):
        try:
            CloudLogExport(flaky, logs, "iris", "old").run(END, received)
        except Unreachable:
            failures += 1
            continue
        break
    assert failures
    assert numbers(store) == [*range(540)]
    smooth = DirectoryStore(path=tmp_path / "smooth")
    CloudLogExport(smooth, logs, "iris", "old").run(END, received)
    assert parts(smooth) == parts(store)


def test_killed_at_random_points_every_line_is_there_once(
    cloud: Cloud, store: DirectoryStore, token_file: Path
) -> None:
    killer, most, hour = Killer(), 2 * KILLS, 360
    where = store.path, cloud.at.api, token_file
    first = 540 - most * hour
    printed(cloud, range(first, 540, hour // 2))
    while killer.killed < KILLS and killer.runs < most:
        killer.run(export_cloud_log_in, *where, END - timedelta(hours=most - killer.runs - 1))
    assert killer.killed == KILLS
    export_cloud_log_in(*where, END - timedelta(hours=most - killer.runs))
    assert numbers(store) == [*range(first, first + killer.runs * hour, hour // 2)]


def test_two_exports_at_once_write_every_line_once(
    cloud: Cloud, logs: CloudLogging, store: DirectoryStore
) -> None:
    printed(cloud, range(300))
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: export(store, logs), range(3)))
    assert numbers(store) == [*range(300)]


def test_answers_that_are_lost_are_asked_for_again(
    cloud: Cloud, logs: CloudLogging, store: DirectoryStore
) -> None:
    printed(cloud, range(300))
    for kind in ("unavailable", "rate_limit", "lost_response"):
        cloud.fault(kind, method="POST", path="/v2/entries:list")
    export(store, logs)
    assert numbers(store) == [*range(300)]


def test_who_may_not_read_is_told_which_role_is_missing(
    cloud: Cloud, logs: CloudLogging, store: DirectoryStore, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(cloud.token("serviceAccount:a@b.iam.gserviceaccount.com"))
    with pytest.raises(Refused) as refused:
        export(store, logs)
    assert "logging.logEntries.list" in refused.value.expected
    assert "--role=roles/logging.viewer" in refused.value.next_step
