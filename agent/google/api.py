"""Requests to an API in the name of the VM's service account."""

import time
from collections.abc import Mapping
from typing import Any

import requests

from agent.google.errors import UNAUTHORIZED, WORTH_ASKING_AGAIN, GoogleError, checked
from agent.google.metadata import MetadataServer

ANSWER_SECONDS = 60.0
IN_ALL_SECONDS = 60.0  # how long a request is asked again before it has failed
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 8.0


class Api:
    """One address. Every request must be fit to be sent twice: a write carries its precondition."""

    def __init__(self, metadata: MetadataServer, address: str) -> None:
        self.metadata = metadata
        self.address = address.rstrip("/")

    def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        stream: bool = False,
    ) -> requests.Response:
        """Ask until there is an answer or the time is up. Raises GoogleError.

        A token that is refused is replaced once. With `stream` the body is the caller's to read and close.
        """
        deadline, pause, token = time.monotonic() + IN_ALL_SECONDS, FIRST_PAUSE, self.metadata.token()
        refused = ""
        while True:
            bearer = {**(headers or {}), "Authorization": f"Bearer {token}"}
            given: dict[str, Any] = {"params": query, "data": body, "headers": bearer, "stream": stream}
            try:
                return checked(
                    lambda given=given: requests.request(  # type: ignore[misc]
                        method, self.address + path, timeout=ANSWER_SECONDS, **given
                    )
                )
            except GoogleError as error:
                if error.status == UNAUTHORIZED and not refused:
                    refused, token = token, self.metadata.token(not_this=token)
                    continue
                if error.status not in WORTH_ASKING_AGAIN or time.monotonic() + pause > deadline:
                    raise
            time.sleep(pause)
            pause = min(LONGEST_PAUSE, pause * 2)
