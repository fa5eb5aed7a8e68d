"""What a delivery is answered; GitHub shows it beside the delivery."""

from http import HTTPStatus
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StartedRun(_Said):
    """A release that now stands in Prefect."""

    service: str
    environment: str
    flow_run: UUID


class Answer(_Said):
    """To a delivery."""

    status: Literal["accepted", "ignored", "pong", "refused", "later"]
    reason: str = ""
    runs: list[StartedRun] = []


class Health(_Said):
    """Whether deliveries are taken."""

    ready: bool
    reason: str = ""
    waiting: int


class Refused(Exception):  # noqa: N818 - says what happened
    """The delivery is not taken."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


def retry_later(reason: str) -> tuple[HTTPStatus, Answer]:
    """Nothing is wrong with the delivery; it may be sent again."""
    return HTTPStatus.SERVICE_UNAVAILABLE, Answer(status="later", reason=reason)
