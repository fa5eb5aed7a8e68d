"""Flows with a schedule are started by it: Prefect's own scheduler, on the libraries that uv.lock names."""

from deployments import stack
from tests.controllers import wait_until
from tests.deployments.conftest import PrefectServer
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
