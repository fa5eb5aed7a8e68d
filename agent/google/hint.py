"""The node's state in a guest attribute: a hint for people, never the verdict.

A VM may ask for its guest attributes about ten times a minute, all of its programs together.
"""

import json
import threading
from typing import Any

from agent.google.errors import GoogleError
from agent.google.metadata import MetadataServer
from releases.status import NodeStatus

KEY = "model-deploy/status"
SECONDS_BETWEEN = 15.0


class Hint:
    """Writes the newest state, at most four times a minute, and only if it says something else."""

    def __init__(self, metadata: MetadataServer, seconds_between: float = SECONDS_BETWEEN) -> None:
        self.metadata = metadata
        self.seconds_between = seconds_between
        self.wake = threading.Event()
        self.status: NodeStatus | None = None
        self.said = ""

    def __call__(self, status: NodeStatus) -> None:
        """Take note; nobody waits for the writing."""
        self.status = status
        self.wake.set()

    def run(self, stop: threading.Event) -> None:
        """Until stopped. Where a policy forbids guest attributes, nobody misses them."""
        while not stop.is_set():
            self.wake.wait()
            self.wake.clear()
            text = brief(self.status) if self.status else ""
            if text == self.said:
                continue
            try:
                self.metadata.put_guest_attribute(KEY, text)
                self.said = text
            except GoogleError:
                self.wake.set()
            stop.wait(self.seconds_between)


def brief(status: NodeStatus) -> str:
    """What a person wants to see first. No log lines, no answers: who reads this may not read the logs."""
    services: dict[str, Any] = {
        name: {
            "live": one.live,
            "confirmed": one.confirmed,
            "generation": one.generation,
            "phase": one.phase,
            **({"failure": one.failure.reason} if one.failure else {}),
        }
        for name, one in status.services.items()
    }
    said = {"problem": status.problem, "logs": status.logs_problem, "services": services}
    return json.dumps(said, separators=(",", ":"))
