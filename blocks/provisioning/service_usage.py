"""Service Usage: the APIs that are on."""

from blocks.provisioning.google_rest import GoogleRest
from releases.provisioning.wanted import Change, Json, Wanted

API = "serviceusage"


class Apis:
    """A project's APIs."""

    def __init__(self, api: GoogleRest) -> None:
        self.api = api
        self.path = f"/v1/projects/{api.project}/services"

    def project_number(self) -> str:
        """The project's number, which every answer of this API names; it is on in every new project."""
        what = f"look up the project {self.api.project}"
        found = self.api.send("GET", what, API, f"{self.path}/storage.googleapis.com")
        return str(found["name"]).split("/")[1]

    def find(self, wanted: Wanted) -> Json | None:
        """Whether it is on."""
        return self.api.get(f"look up {wanted.key}", API, f"{self.path}/{wanted.key.name}")

    def create(self, wanted: Wanted) -> None:
        """An API cannot be made."""
        raise NotImplementedError(str(wanted.key))

    def change(self, change: Change) -> None:
        """Switch it on."""
        what = f"switch on {change.key}"
        operation = self.api.send("POST", what, API, f"{self.path}/{change.key.name}:enable", {})
        self.api.finish(what, API, operation)
