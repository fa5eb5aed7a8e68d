"""Secret Manager: that a secret exists. People, or flows that fetch certificates, fill it."""

from blocks.provisioning.google_rest import GoogleRest
from releases.provisioning.seen import seen
from releases.provisioning.wanted import Change, Json, Wanted

API = "secretmanager"


class Secrets:
    """A project's secrets, without their values."""

    def __init__(self, api: GoogleRest) -> None:
        self.api = api
        self.path = f"/v1/projects/{api.project}/secrets"

    def find(self, wanted: Wanted) -> Json | None:
        """The secret."""
        found = self.api.get(f"look up {wanted.key}", API, f"{self.path}/{wanted.key.name}")
        return found and seen(wanted, found)

    def create(self, wanted: Wanted) -> None:
        """Make the secret, empty."""
        what = f"create {wanted.key}"
        self.api.send("POST", what, API, self.path, wanted.body, secretId=wanted.key.name)

    def change(self, change: Change) -> None:
        """Nothing that we say of a secret can be changed."""
        raise NotImplementedError(str(change.key))
