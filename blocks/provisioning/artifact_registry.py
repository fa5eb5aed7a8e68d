"""Artifact Registry: the repository of images, and what is cleaned up in it."""

from blocks.provisioning.google_rest import GoogleRest
from releases.provisioning.requests import changed
from releases.provisioning.seen import seen
from releases.provisioning.wanted import Change, Json, Wanted

API = "artifactregistry"


class Repositories:
    """The repositories of one region."""

    def __init__(self, api: GoogleRest, region: str) -> None:
        self.api = api
        self.path = f"/v1/projects/{api.project}/locations/{region}/repositories"

    def find(self, wanted: Wanted) -> Json | None:
        """The repository."""
        found = self.api.get(f"look up {wanted.key}", API, f"{self.path}/{wanted.key.name}")
        return found and seen(wanted, found)

    def create(self, wanted: Wanted) -> None:
        """Make the repository."""
        what = f"create {wanted.key}"
        operation = self.api.send("POST", what, API, self.path, wanted.body, repositoryId=wanted.key.name)
        self.api.finish(what, API, operation)

    def change(self, change: Change) -> None:
        """Bring the fields that differ to what they shall be."""
        fields = changed(change.wanted, change.fields)
        path = f"{self.path}/{change.key.name}"
        self.api.send("PATCH", f"change {change.key}", API, path, fields, updateMask=",".join(sorted(fields)))
