"""Requests to Google's APIs, each with a deadline, tried again where that can help."""

import time
import uuid
from typing import TYPE_CHECKING, Any

from releases.problem import Failed, Problem, Refused, Unreachable
from releases.provisioning.refusal import OFF, reason_of, refusal
from releases.provisioning.wanted import Json

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

PUBLIC = "https://{api}.googleapis.com"
ATTEMPT_SECONDS = 30.0
PATIENCE = 90.0
OPERATION_SECONDS = 600.0
FIRST_PAUSE = 0.2
FIRST_LOOK = 0.05  # at an operation
LONGEST_PAUSE = 5.0
TRANSIENT = {429, 500, 502, 503, 504}
NOT_FOUND = 404
CONFLICT = 409
CONDITION = 412
ERROR = 400


class Conflict(Problem):
    """Somebody was faster, perhaps this very request whose answer got lost: look again."""


class GoogleRest:
    """One account's way to the APIs."""

    def __init__(
        self, credentials: "Credentials", endpoint: str | None, project: str, patience: float = PATIENCE
    ) -> None:
        from google.auth.transport.requests import AuthorizedSession  # noqa: PLC0415 - slow to import

        session: Any = AuthorizedSession
        self.session = session(credentials)
        self.credentials = credentials
        self.endpoint = (endpoint or PUBLIC).rstrip("/")
        self.project = project
        self.patience = patience

    def get(self, what: str, api: str, path: str, *, method: str = "GET", **query: str | int) -> Json | None:
        """What is there, None where nothing is. Raises Problem."""
        status, answer = self._answer(method, what, api, path, None, query)
        return None if status == NOT_FOUND else answer

    def send(
        self, method: str, what: str, api: str, path: str, body: Json | None = None, **query: str | int
    ) -> Json:
        """Have something done. Raises Conflict where it is not what we took it for, Problem otherwise."""
        status, answer = self._answer(method, what, api, path, body, query)
        if status == NOT_FOUND:
            raise self._problem(what, status, answer)
        return answer

    def compute(self, method: str, what: str, place: str, rest: str, body: Json | None = None) -> None:
        """Have Compute Engine do something and wait for it; `place` is zones/Z, regions/R or global."""
        path = f"/compute/v1/projects/{self.project}/{place}"
        # Asked again after a lost answer, it is the same operation.
        operation = self.send(method, what, "compute", f"{path}/{rest}", body, requestId=str(uuid.uuid4()))
        ends, pause = time.monotonic() + OPERATION_SECONDS, FIRST_LOOK
        while operation.get("status") != "DONE":
            pause = self._pause(what, ends, pause)
            found = self.get(what, "compute", f"{path}/operations/{operation['name']}")
            operation = found if found is not None else operation
        if "error" in operation:
            first = operation["error"]["errors"][0]
            code = str(first.get("code", ""))
            if "already" in code.lower():
                raise Conflict(what, got=str(first.get("message", "")))
            said = {"message": f"{code}: {first.get('message', '')}", "errors": [{"reason": code}]}
            raise self._problem(what, ERROR, said)

    def finish(self, what: str, api: str, operation: Json) -> None:
        """Wait until an operation of one of the newer APIs is done."""
        ends, pause = time.monotonic() + OPERATION_SECONDS, FIRST_LOOK
        while not operation.get("done"):
            pause = self._pause(what, ends, pause)
            found = self.get(what, api, f"/v1/{operation['name']}")
            operation = found if found is not None else operation
        if "error" in operation:
            raise self._problem(what, ERROR, operation["error"])

    def _pause(self, what: str, ends: float, pause: float) -> float:
        if time.monotonic() + pause > ends:
            raise Unreachable(
                f"{what}: its operation is not done after {OPERATION_SECONDS:.0f} s",
                next_step="the same command again: it goes on from what is there",
            )
        time.sleep(pause)
        return min(pause * 1.5, LONGEST_PAUSE)

    def _answer(
        self, method: str, what: str, api: str, path: str, body: Json | None, query: dict[str, str | int]
    ) -> tuple[int, Json]:
        """Status and content, after as many attempts as fit. A 404 is an answer."""
        ends, pause = time.monotonic() + self.patience, FIRST_PAUSE
        while True:
            status, answer = self._once(method, api, path, body, query)
            if status and status not in TRANSIENT and not _settling(method, status, answer):
                break
            if time.monotonic() + pause > ends:
                break
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
        if not status:
            raise Unreachable(
                f"{what}: {api}.googleapis.com does not answer",
                where=self.endpoint.format(api=api),
                got=str(answer.get("message", "")),
                next_step="the same command again, later",
            )
        if status in {CONFLICT, CONDITION}:
            raise Conflict(what, got=str(answer.get("message", "")))
        if status >= ERROR and status != NOT_FOUND:
            raise self._problem(what, status, answer)
        return status, answer

    def _once(
        self, method: str, api: str, path: str, body: Json | None, query: dict[str, str | int]
    ) -> tuple[int, Json]:
        """One attempt: status and content, or the error's. Status 0: no answer."""
        from google.auth.exceptions import RefreshError, TransportError  # noqa: PLC0415 - slow to import
        from requests import RequestException  # noqa: PLC0415 - slow to import

        url = f"{self.endpoint.format(api=api)}{path}"
        try:
            answer = self.session.request(method, url, params=query, json=body, timeout=ATTEMPT_SECONDS)
            content = answer.json() if answer.content else {}
        except RefreshError as error:
            raise Refused(
                "the credentials are no longer valid",
                got=str(error),
                next_step="gcloud auth application-default login",
            ) from error
        except (RequestException, TransportError) as error:  # an answer that is no JSON is one of them
            return 0, {"message": f"{type(error).__name__}: {error}"}
        if answer.status_code < ERROR:
            return answer.status_code, content
        said = content.get("error") if isinstance(content, dict) else None
        return answer.status_code, said if isinstance(said, dict) else {"message": str(said or content)}

    def _problem(self, what: str, status: int, error: Json) -> Problem:
        if status == NOT_FOUND:
            return Failed(f"{what}: not found", got=str(error.get("message", "")))
        caller = str(getattr(self.credentials, "service_account_email", "") or "")
        return refusal(what, self.project, "" if caller == "default" else caller, status, error)


def _settling(method: str, status: int, error: Json) -> bool:
    """What passes by itself: an API just switched on, an account so new that not all of Google knows it."""
    if status == 403 and reason_of(error) in OFF:  # noqa: PLR2004 - forbidden
        return True
    unknown = "does not exist" in str(error.get("message", ""))
    return method != "GET" and status == ERROR and unknown
