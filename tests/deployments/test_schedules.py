"""Flows with a schedule are started by it: Prefect's own scheduler, on the libraries that uv.lock names."""

import httpx

from deployments import stack
from tests.controllers import wait_until
from tests.deployments.conftest import PrefectServer

LOOKS = 30  # seconds; the scheduler looks for deployments that have just changed every five


def test_schedules_make_runs(prefect_server: PrefectServer) -> None:
    with httpx.Client(base_url=stack.api_url(prefect_server.home), timeout=30) as api:
        everything = api.post("/deployments/filter", json={}).json()
        scheduled = {
            one["id"]: one["name"]
            for one in everything
            if not one["paused"] and any(schedule["active"] for schedule in one["schedules"])
        }
        assert len(scheduled) >= 4

        def all_have_a_run() -> bool:
            runs = api.post("/flow_runs/filter", json={"limit": 200}).json()
            return set(scheduled) <= {run["deployment_id"] for run in runs if run["auto_scheduled"]}

        wait_until(all_have_a_run, LOOKS)
