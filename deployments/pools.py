"""The work pools: a process beside the container engine for releases, a container each for scheduled runs."""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployments.machine.home import Home
from deployments.machine.images import flows_image
from deployments.processes import POOLS, Process

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

RELEASES = "releases"  # the queue of runs that build or deploy, so that reconcile never waits for them
AT_ONCE = 10


def ensure_pools(
    home: Home, api: str, checkout: Path, end: Callable[[Process], object], *, in_containers: bool
) -> None:
    """Have both pools, with their settings as they are today; scheduled runs may get a container each.

    `api`: the address of Prefect's. `end` ends the worker of a pool whose kind changes: it keeps its own.
    """
    from prefect.client.orchestration import get_client  # noqa: PLC0415 - imports Prefect
    from prefect.exceptions import ObjectAlreadyExists  # noqa: PLC0415
    from prefect.settings import PREFECT_API_URL, temporary_settings  # noqa: PLC0415
    from prefect.workers.process import ProcessWorker  # noqa: PLC0415
    from prefect_docker.worker import DockerWorker  # noqa: PLC0415

    # Where no command is said, Prefect starts a process before the run's own, only to find the code.
    command = f"{sys.executable} -m prefect.engine"
    settings = {"working_dir": str(checkout), "command": command}
    here = with_defaults(ProcessWorker.get_default_base_job_template(), settings)
    apart = with_defaults(DockerWorker.get_default_base_job_template(), in_a_container(home))
    wanted = {
        Process.worker: ("process", here),
        Process.scheduled: ("docker", apart) if in_containers else ("process", here),
    }
    with temporary_settings({PREFECT_API_URL: api}), get_client(sync_client=True) as client:
        for process, (kind, template) in wanted.items():
            _ensure_pool(client, process, kind, template, end)
        with suppress(ObjectAlreadyExists):  # what was set in the UI since stays
            client.create_work_queue(
                RELEASES, concurrency_limit=AT_ONCE, work_pool_name=POOLS[Process.worker]
            )


def _ensure_pool(
    client: "SyncPrefectClient",
    process: Process,
    kind: str,
    template: dict[str, Any],
    end: Callable[[Process], object],
) -> None:
    from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate  # noqa: PLC0415

    name = POOLS[process]
    kinds = {pool.name: pool.type for pool in client.read_work_pools()}
    if kinds.get(name) == kind:  # a pause or a limit that a person has set stays
        client.update_work_pool(name, WorkPoolUpdate(base_job_template=template))
        return
    if name in kinds:  # a pool's kind cannot be changed
        end(process)
        client.delete_work_pool(name)
    pool = WorkPoolCreate(name=name, type=kind, base_job_template=template)
    client.create_work_pool(pool, overwrite=True)


def in_a_container(home: Home) -> dict[str, Any]:
    """prefect-docker's settings for runs that see home, Prefect's server and Google Cloud as we do here."""
    login = google_login()
    return {
        "image": flows_image(),
        "image_pull_policy": "Never",  # built on this machine
        "auto_remove": True,
        # Elsewhere (Docker Desktop) prefect-docker itself writes host.docker.internal into PREFECT_API_URL.
        "network_mode": "host" if sys.platform == "linux" else None,
        "volumes": [f"{home.path}:{home.path}", *([f"{login}:{login}:ro"] if login else [])],
        "env": {
            "MODEL_DEPLOY_HOME": str(home.path),
            "HOME": "/tmp",  # noqa: S108 - of the container
            **({"GOOGLE_APPLICATION_CREDENTIALS": str(login)} if login else {}),
        },
        "container_create_kwargs": {
            "user": f"{os.getuid()}:{os.getgid()}",  # what it writes is ours
            "log_config": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
        },
    }


def google_login() -> Path | None:
    """The file with this machine's login at Google Cloud; None on a VM, where the metadata server has it.

    https://cloud.google.com/docs/authentication/application-default-credentials
    """
    given = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    file = Path(given) if given else Path.home() / ".config/gcloud/application_default_credentials.json"
    return file.absolute() if file.is_file() else None


def with_defaults(template: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """A job template whose variables have other defaults."""
    variables = template["variables"]["properties"]
    changed = {name: {**variables[name], "default": value} for name, value in defaults.items()}
    return {**template, "variables": {**template["variables"], "properties": {**variables, **changed}}}
