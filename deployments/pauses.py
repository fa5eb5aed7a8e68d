"""What people have paused in Prefect's UI stays paused: registering flows makes every schedule active."""

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse


@contextmanager
def pauses_kept(api: str) -> "Iterator[None]":
    """Pause again what was paused before at Prefect's API `api`; a schedule is known by its times."""
    from prefect.client.orchestration import get_client  # noqa: PLC0415 - imports Prefect
    from prefect.settings import PREFECT_API_URL, temporary_settings  # noqa: PLC0415

    with temporary_settings({PREFECT_API_URL: api}), get_client(sync_client=True) as client:
        before = {one.name: one for one in client.read_deployments()}
        yield
        for one in client.read_deployments():
            if one.name in before:
                _pause(client, one, before[one.name])


def _pause(client: "SyncPrefectClient", now: "DeploymentResponse", before: "DeploymentResponse") -> None:
    if before.paused and not now.paused:
        client.pause_deployment(now.id)
    paused = [_times(one) for one in before.schedules if not one.active]
    for one in now.schedules:
        if one.active and one.id is not None and _times(one) in paused:
            client.update_deployment_schedule(now.id, one.id, active=False)


def _times(schedule: Any) -> dict[str, Any]:
    times: dict[str, Any] = schedule.schedule.model_dump(mode="json")
    return times
