"""Cloud Storage: the buckets and what protects them."""

from blocks.provisioning.google_rest import GoogleRest
from releases.provisioning.requests import changed
from releases.provisioning.seen import seen
from releases.provisioning.wanted import Change, Json, Wanted

API = "storage"


class Buckets:
    """A project's buckets."""

    def __init__(self, api: GoogleRest) -> None:
        self.api = api
        self.path = "/storage/v1/b"

    def find(self, wanted: Wanted) -> Json | None:
        """The bucket."""
        found = self.api.get(f"look up {wanted.key}", API, f"{self.path}/{wanted.key.name}")
        return found and seen(wanted, found)

    def create(self, wanted: Wanted) -> None:
        """Make the bucket, protected from its first moment."""
        body = {"name": wanted.key.name, **wanted.body}
        self.api.send("POST", f"create {wanted.key}", API, self.path, body, project=self.api.project)

    def change(self, change: Change) -> None:
        """Bring the settings that differ to what they shall be."""
        fields = changed(change.wanted, change.fields)
        self.api.send("PATCH", f"change {change.key}", API, f"{self.path}/{change.key.name}", fields)
