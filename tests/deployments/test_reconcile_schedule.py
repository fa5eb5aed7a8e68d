"""FAULTS.md row 32: a scheduled run that is still going when the next is due."""

import httpx
import pytest

from deployments import stack
from tests.deployments.conftest import PrefectServer


@pytest.mark.parametrize("flow", ["reconcile", "export-logs", "certificates"])
@pytest.mark.fault(32)
def test_one_run_is_active_and_the_next_is_cancelled(prefect_server: PrefectServer, flow: str) -> None:
    with httpx.Client(base_url=stack.api_url(prefect_server.home), timeout=30) as api:
        deployment = api.get(f"/deployments/name/{flow}/{flow}").raise_for_status().json()
        assert [schedule["active"] for schedule in deployment["schedules"]] == [True]
        runs = [
            api.post(f"/deployments/{deployment['id']}/create_flow_run", json={}).json()["id"]
            for _ in range(3)
        ]

        def propose(run: str, state: str) -> str:
            answer = api.post(f"/flow_runs/{run}/set_state", json={"state": {"type": state}}).json()
            return str(answer["state"]["type"])

        first, second, third = runs
        assert [propose(first, state) for state in ("PENDING", "RUNNING")] == ["PENDING", "RUNNING"]
        assert propose(second, "PENDING") == "CANCELLED"
        assert propose(first, "COMPLETED") == "COMPLETED"
        assert propose(third, "PENDING") == "PENDING"
        assert propose(third, "CANCELLED") == "CANCELLED"
