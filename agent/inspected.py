"""What the engine's own description of a container says of it.

https://docs.docker.com/reference/api/engine/ (ContainerInspect)
"""

from datetime import datetime
from typing import Any

from releases.swap_memory import Container, Running, Slot

PREFIX = "model-deploy"  # of the labels on everything of ours


def container_of(attrs: dict[str, Any]) -> Container:
    """One of the service's containers."""
    labels = attrs["Config"]["Labels"]
    status = attrs["State"]["Status"]
    return Container(
        id=attrs["Id"],
        fingerprint=labels.get(f"{PREFIX}.fingerprint", ""),
        release=int(labels.get(f"{PREFIX}.release", "0")),
        slot=Slot(labels.get(f"{PREFIX}.slot", "a")),
        state={"running": Running.running, "created": Running.created}.get(status, Running.exited),
        exit_reason=exit_reason(attrs["State"]) or "",
        ran=_ran(attrs["State"]),
    )


def exit_reason(state: dict[str, Any]) -> str | None:
    """Why it is not running; None while it is."""
    if state["Status"] in {"running", "created"}:
        return None
    if state.get("OOMKilled"):
        return "out of memory"
    return str(state.get("Error") or f"exit code {state.get('ExitCode')}")


def _ran(state: dict[str, Any]) -> float:
    """Seconds from its start to its end, by the engine's clock; 0 before that."""
    if state["Status"] != "exited":
        return 0.0
    started, finished = (datetime.fromisoformat(state[name]) for name in ("StartedAt", "FinishedAt"))
    return max(0.0, (finished - started).total_seconds())
