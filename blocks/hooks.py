"""Calls before and after a deploy."""

from typing import Any
from uuid import UUID

import httpx

from releases.problem import Failed
from releases.rules import Hook

FIRST_LOOK = 1.0


def call(hook: Hook, event: dict[str, str]) -> None:
    """POST the event as JSON, or run the deployment with it as its parameter `event`. Raises Failed."""
    if hook.url is not None:
        _post(hook.url, hook, event)
    else:
        _run(str(hook.deployment), hook, event)


def _post(url: str, hook: Hook, event: dict[str, str]) -> None:
    try:
        answer = httpx.post(url, json=event, timeout=hook.timeout)
    except httpx.HTTPError as error:
        raise _failed(hook, "an answer", f"{type(error).__name__}: {error}") from error
    if not answer.is_success:
        raise _failed(hook, "a 2xx answer", f"{answer.status_code}: {answer.text[:300]}")


def _run(deployment: str, hook: Hook, event: dict[str, str]) -> None:
    from prefect.deployments import run_deployment  # noqa: PLC0415 - most environments have no such hook
    from prefect.exceptions import ObjectNotFound  # noqa: PLC0415

    try:
        run: Any = run_deployment(
            deployment,
            parameters={"event": event},
            timeout=hook.timeout,
            poll_interval=FIRST_LOOK,
            as_subflow=False,
        )
    except ObjectNotFound as error:
        raise _failed(hook, "a deployment of that name", "none") from error
    except (ValueError, httpx.HTTPError) as error:
        raise _failed(hook, "a run of it", str(error)) from error
    if run.state is None or not run.state.is_final():
        _cancel(run.id)  # or it would run when what it is about is long over
    if run.state is None or not run.state.is_completed():
        state = run.state.name if run.state else "no state"
        raise _failed(hook, "a run that completes", f"{run.name}: {state}")


def _cancel(run: UUID) -> None:
    from prefect.client.orchestration import get_client  # noqa: PLC0415
    from prefect.states import Cancelling  # noqa: PLC0415

    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run, Cancelling())


def _failed(hook: Hook, expected: str, got: str) -> Failed:
    return Failed(
        f"the hook {hook.title} failed", expected=f"{expected} within {hook.timeout:.0f} s", got=got
    )
