"""Flows with a schedule are started by it: Prefect's own scheduler, on the libraries that uv.lock names."""

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from blocks.command import Finished
from deployments import stack
from deployments.pauses import pauses_kept
from deployments.processes import POOLS, Process
from tests.controllers import wait_until
from tests.deployments.conftest import PrefectServer, register_flows
from tests.prefect_api import ask

LOOKS = 30  # seconds; the scheduler looks for deployments that have just changed every five


def test_schedules_make_runs(prefect_server: PrefectServer) -> None:
    api = stack.api_url(prefect_server.home)
    scheduled = {
        one["id"]
        for one in ask(api, "POST", "/deployments/filter", {})
        if not one["paused"] and any(schedule["active"] for schedule in one["schedules"])
    }
    assert len(scheduled) >= 5

    def all_have_a_run() -> bool:
        theirs = {"deployments": {"id": {"any_": list(scheduled)}}, "limit": 200}
        runs = ask(api, "POST", "/flow_runs/filter", theirs)
        return scheduled <= {run["deployment_id"] for run in runs if run["auto_scheduled"]}

    wait_until(all_have_a_run, LOOKS)


def test_ten_releases_run_at_once_or_as_many_as_a_person_has_set_and_a_paused_pool_stays_so(
    prefect_server: PrefectServer,
) -> None:
    pool = f"{stack.api_url(prefect_server.home)}/work_pools/local"
    queue = f"{pool}/queues/releases"
    assert ask(queue, "GET", "")["concurrency_limit"] == 10
    ask(queue, "PATCH", "", {"concurrency_limit": 3})
    ask(pool, "PATCH", "", {"is_paused": True, "concurrency_limit": 5})
    try:
        register_flows(prefect_server.home)
        assert ask(queue, "GET", "")["concurrency_limit"] == 3
        kept = ask(pool, "GET", "")
        assert (kept["is_paused"], kept["concurrency_limit"]) == (True, 5)
    finally:
        ask(pool, "PATCH", "", {"is_paused": False, "concurrency_limit": None})


def test_without_a_file_the_one_that_was_applied_is_applied_again(prefect_server: PrefectServer) -> None:
    applied = prefect_server.model_deploy("apply")
    assert applied.stdout.splitlines() == ["local: unchanged", "examples: unchanged"], applied.stderr


def test_what_a_person_paused_stays_paused_when_the_flows_are_registered_again(
    prefect_server: PrefectServer,
) -> None:
    api = stack.api_url(prefect_server.home)

    def deployed(name: str) -> Any:
        (one,) = ask(api, "POST", "/deployments/filter", {"deployments": {"name": {"any_": [name]}}})
        return one

    report, collect = deployed("report"), deployed("collect-data")
    ask(
        api,
        "PATCH",
        f"/deployments/{report['id']}/schedules/{report['schedules'][0]['id']}",
        {"active": False},
    )
    ask(api, "POST", f"/deployments/{collect['id']}/pause_deployment")
    register_flows(prefect_server.home)
    assert [one["active"] for one in deployed("report")["schedules"]] == [False]
    assert deployed("collect-data")["paused"]
    assert [one["active"] for one in deployed("export-logs")["schedules"]] == [True]


@pytest.fixture
def theirs(prefect_server: PrefectServer) -> Iterator[str]:
    """A deployment `report` that others have at the same server, active; its id."""
    api = stack.api_url(prefect_server.home)
    flow = ask(api, "POST", "/flows/", {"name": "theirs"})["id"]
    made = ask(api, "POST", "/deployments/", {"name": "report", "flow_id": flow})["id"]
    yield str(made)
    ask(api, "DELETE", f"/deployments/{made}")


def test_a_pause_outlives_a_registration_that_is_cut_short_and_is_nobody_elses(
    prefect_server: PrefectServer, theirs: str
) -> None:
    api = stack.api_url(prefect_server.home)
    found = ask(api, "POST", "/deployments/filter", {"deployments": {"name": {"any_": ["report"]}}})
    (ours,) = {one["id"] for one in found} - {theirs}
    ask(api, "POST", f"/deployments/{ours}/pause_deployment")

    def registered_and_stopped() -> None:
        with pauses_kept(api):
            ask(api, "POST", f"/deployments/{ours}/resume_deployment")  # as registering it does
            raise KeyboardInterrupt

    try:
        with pytest.raises(KeyboardInterrupt):
            registered_and_stopped()
        assert ask(api, "GET", f"/deployments/{ours}")["paused"]
        assert not ask(api, "GET", f"/deployments/{theirs}")["paused"]
    finally:
        ask(api, "POST", f"/deployments/{ours}/resume_deployment")


def test_a_worker_is_started_anew_where_its_pool_changes_its_kind(
    prefect_server: PrefectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `up` does after `script/demo`, whose scheduled runs get no container each."""
    home = prefect_server.home
    pool = f"{stack.api_url(home)}/work_pools/of-a-demo"
    monkeypatch.setitem(POOLS, Process.scheduled, "of-a-demo")
    monkeypatch.setattr(stack, "command", lambda *_: [sys.executable, "-c", "import time; time.sleep(600)"])
    monkeypatch.setattr(stack, "run", lambda argv, **_: Finished(tuple(argv), 0, "", 0))
    pids = []
    try:
        for in_containers in (False, False, True):
            stack.register_flows(home, in_containers=in_containers)
            stack.ensure_running(home, Process.scheduled)
            pids.append((home.path / "scheduled.pid").read_text())
        assert ask(pool, "GET", "")["type"] == "docker"
    finally:
        stack._stop(home, Process.scheduled)
        ask(pool, "DELETE", "")
    assert pids[0] == pids[1], "it was ended without a need"
    assert pids[1] != pids[2], "it is a worker of the kind before"
