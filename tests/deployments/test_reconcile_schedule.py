"""FAULTS.md row 32: a scheduled run that is still going when the next is due."""

import pytest

from deployments import stack
from tests.deployments.conftest import PrefectServer
from tests.prefect_api import ask


@pytest.mark.parametrize("flow", ["reconcile", "export-logs", "certificates"])
@pytest.mark.fault(32)
def test_one_run_is_active_and_the_next_is_cancelled(prefect_server: PrefectServer, flow: str) -> None:
    api = stack.api_url(prefect_server.home)
    deployment = ask(api, "GET", f"/deployments/name/{flow}/{flow}")
    assert [schedule["active"] for schedule in deployment["schedules"]] == [True]
    new = f"/deployments/{deployment['id']}/create_flow_run"
    first, second, third = (ask(api, "POST", new, {})["id"] for _ in range(3))

    def propose(run: str, state: str) -> str:
        answer = ask(api, "POST", f"/flow_runs/{run}/set_state", {"state": {"type": state}})
        return str(answer["state"]["type"])

    assert [propose(first, state) for state in ("PENDING", "RUNNING")] == ["PENDING", "RUNNING"]
    assert propose(second, "PENDING") == "CANCELLED"
    assert propose(first, "COMPLETED") == "COMPLETED"
    assert propose(third, "PENDING") == "PENDING"
    assert propose(third, "CANCELLED") == "CANCELLED"
