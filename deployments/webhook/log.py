"""One JSON line per delivery: what came, what was done. Never a payload, a secret or a signature."""

import json
import logging
import time
from http import HTTPStatus

from deployments.webhook.answer import Answer
from releases.pull_request import PullRequest
from releases.trigger import Push

LOGGER = logging.getLogger("model_deploy.webhook")
LONGEST = 200


class Delivery:
    """What is known of a delivery so far."""

    def __init__(self, event: str | None, identity: str | None) -> None:
        self._started = time.monotonic()
        self._facts = {"event": _short(event), "delivery": _short(identity)}

    @property
    def event(self) -> str:
        """What GitHub calls it."""
        return self._facts["event"]

    def concerns(self, push: Push | PullRequest) -> None:
        """Remember which commit it is about; only after the signature was found right."""
        self._facts |= {"repository": push.repository, "ref": push.ref, "commit": push.after}

    def log(self, status: HTTPStatus, answer: Answer) -> None:
        """Write the line."""
        line = {
            **self._facts,
            "http": int(status),
            "status": answer.status,
            "reason": answer.reason,
            "runs": [str(run.flow_run) for run in answer.runs],
            "ms": round((time.monotonic() - self._started) * 1000, 1),
        }
        LOGGER.info(json.dumps(line))


def log_kept(delivery: str, seconds: float, status: str, reason: str, run: str) -> None:
    """Say what became of a delivery that was answered before its run was stored."""
    line = {"delivery": delivery, "status": status, "reason": reason, "runs": [run] if run else []}
    LOGGER.info(json.dumps({**line, "ms": round(seconds * 1000, 1)}))


def log_trouble(status: str, reason: str) -> None:
    """Say what is wrong with the receiver itself."""
    LOGGER.warning(json.dumps({"status": status, "reason": reason}))


def _short(text: str | None) -> str:
    return (text or "")[:LONGEST]
