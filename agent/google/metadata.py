"""The VM's metadata server: attributes, tokens of its service account, guest attributes.

https://cloud.google.com/compute/docs/metadata/querying-metadata
"""

import threading
import time
from dataclasses import dataclass

import requests

from agent.google.errors import WORTH_ASKING_AGAIN, GoogleError, checked

ROOT = "/computeMetadata/v1"
HEADERS = {"Metadata-Flavor": "Google"}
ANSWER_SECONDS = 10.0
TRIES = 5  # brief 503s happen
FIRST_PAUSE = 0.2
REFRESH_SECONDS = 60.0  # before its end; the server hands out another one from five minutes on


@dataclass(frozen=True)
class Attributes:
    """The custom metadata, and what to name to hear of a change."""

    values: dict[str, str]
    etag: str


class MetadataServer:
    """Asked by several threads; one token for all of them."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.lock = threading.Lock()
        self.held = ""
        self.good_until = 0.0

    def text(self, path: str) -> str:
        """One value, such as project/project-id. Raises GoogleError."""
        return self._asked_again(path).text

    def attributes(self, last_etag: str = "", wait: float = 0.0) -> Attributes:
        """All of them, at once or as soon as they are others than those of the etag. Raises GoogleError.

        All and not one: a key that does not exist cannot be waited for.
        """
        query = {"recursive": "true", "alt": "json"}
        if last_etag:
            query |= {"wait_for_change": "true", "last_etag": last_etag, "timeout_sec": str(round(wait))}
        answer = self._ask("instance/attributes/", query, ANSWER_SECONDS + (wait if last_etag else 0.0))
        try:
            found = {name: str(value) for name, value in answer.json().items()}
            return Attributes(found, answer.headers["ETag"])
        except (ValueError, KeyError, AttributeError) as error:
            raise GoogleError(f"the metadata server's answer is none: {answer.text[:100]}") from error

    def token(self, not_this: str = "") -> str:
        """An access token of the VM's service account, another one than `not_this`. Raises GoogleError."""
        with self.lock:
            if self.held == not_this or time.monotonic() > self.good_until - REFRESH_SECONDS:
                body = self._asked_again("instance/service-accounts/default/token").json()
                self.held = str(body["access_token"])
                self.good_until = time.monotonic() + float(body["expires_in"])
            return self.held

    def put_guest_attribute(self, key: str, value: str) -> None:
        """Leave a word for people: NAMESPACE/KEY. Raises GoogleError; 429 after about 10 a minute."""
        url = f"{self.address}{ROOT}/instance/guest-attributes/{key}"
        checked(lambda: requests.put(url, value.encode(), headers=HEADERS, timeout=ANSWER_SECONDS))

    def _asked_again(self, path: str) -> requests.Response:
        for pause in range(TRIES):
            try:
                return self._ask(path)
            except GoogleError as error:
                if error.status not in {0, *WORTH_ASKING_AGAIN} or pause == TRIES - 1:
                    raise
            time.sleep(FIRST_PAUSE * 2**pause)
        raise AssertionError

    def _ask(
        self, path: str, query: dict[str, str] | None = None, seconds: float = ANSWER_SECONDS
    ) -> requests.Response:
        url = f"{self.address}{ROOT}/{path}"
        return checked(lambda: requests.get(url, query, headers=HEADERS, timeout=seconds))
