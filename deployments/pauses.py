"""What people have paused in Prefect's UI stays paused: registering flows makes every schedule active."""

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from blocks.pick_lists import TAG

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
        before = {one.id: one for one in _ours(client)}
        try:
            yield
        finally:  # what was registered before the end is active
            for one in _ours(client):
                if one.id in before:
                    _pause(client, one, before[one.id])


def _ours(client: "SyncPrefectClient") -> "list[DeploymentResponse]":
    """Not those that others have at the same server, whatever their names."""
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags  # noqa: PLC0415

    tagged = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    return client.read_deployments(deployment_filter=tagged)


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
