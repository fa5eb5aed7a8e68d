"""Cloud Logging, read through `entries:list`."""

from collections.abc import Iterator
from typing import Any

from blocks.google_api import GoogleApi
from blocks.provisioning.google_rest import GoogleRest

PAGE = 1000  # the most; a project may ask for 60 pages a minute


class CloudLogging(GoogleApi):
    """A project's log entries."""

    _block_type_name = "Cloud Logging"
    _block_type_slug = "model-deploy-cloud-logging"

    project: str

    def entries(self, matching: str) -> Iterator[dict[str, Any]]:
        """By time, page by page; an empty page is not the end. Raises Refused, Unreachable, Failed."""
        rest = GoogleRest(self.google_credentials, self.endpoint, self.project)
        body: dict[str, Any] = {
            "resourceNames": [f"projects/{self.project}"],
            "filter": matching,
            "orderBy": "timestamp asc",
            "pageSize": PAGE,
        }
        what = f"read the logs of {self.project}"
        while True:
            answer = rest.send("POST", what, "logging", "/v2/entries:list", body)
            yield from answer.get("entries", [])
            if not answer.get("nextPageToken"):
                return
            body = {**body, "pageToken": answer["nextPageToken"]}
