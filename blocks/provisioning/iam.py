"""IAM: service accounts, a role of our own, and the identities of GitHub's runs."""

from blocks.provisioning.google_rest import GoogleRest
from releases.provisioning.requests import changed
from releases.provisioning.seen import seen
from releases.provisioning.wanted import Change, Json, Wanted

API = "iam"


class Accounts:
    """Service accounts. Nobody ever gets a key for one."""

    def __init__(self, api: GoogleRest) -> None:
        self.api = api
        self.path = f"/v1/projects/{api.project}/serviceAccounts"

    def find(self, wanted: Wanted) -> Json | None:
        """The account."""
        found = self.api.get(f"look up {wanted.key}", API, f"{self.path}/{wanted.key.name}")
        return found and seen(wanted, found)

    def create(self, wanted: Wanted) -> None:
        """Make the account."""
        said = {"displayName": wanted.body["displayName"]}
        body = {"accountId": wanted.key.name.partition("@")[0], "serviceAccount": said}
        self.api.send("POST", f"create {wanted.key}", API, self.path, body)

    def change(self, change: Change) -> None:
        """Name it, and let it work again if it was disabled."""
        what, path = f"change {change.key}", f"{self.path}/{change.key.name}"
        fields = changed(change.wanted, change.fields)
        if "disabled" in fields:
            self.api.send("POST", what, API, f"{path}:enable", {})
        if "displayName" in fields:
            said = {"displayName": fields["displayName"]}
            body = {"serviceAccount": said, "updateMask": "displayName"}
            self.api.send("PATCH", what, API, path, body)

    def keys(self, email: str) -> list[str]:
        """The names of the keys that people have made for the account."""
        what = f"look up the keys of {email}"
        found = self.api.get(what, API, f"{self.path}/{email}/keys", keyTypes="USER_MANAGED") or {}
        return [str(key["name"]).rpartition("/")[2] for key in found.get("keys", [])]


class Roles:
    """The project's own roles."""

    def __init__(self, api: GoogleRest) -> None:
        self.api = api
        self.path = f"/v1/projects/{api.project}/roles"

    def find(self, wanted: Wanted) -> Json | None:
        """The role, a deleted one too: its name is taken for weeks."""
        found = self.api.get(f"look up {wanted.key}", API, f"{self.path}/{wanted.key.name}")
        return found and seen(wanted, found)

    def create(self, wanted: Wanted) -> None:
        """Make the role."""
        said = {name: value for name, value in wanted.body.items() if name != "deleted"}
        body = {"roleId": wanted.key.name, "role": said}
        self.api.send("POST", f"create {wanted.key}", API, self.path, body)

    def change(self, change: Change) -> None:
        """Bring it to the permissions it shall have."""
        fields = changed(change.wanted, change.fields)
        path = f"{self.path}/{change.key.name}"
        self.api.send("PATCH", f"change {change.key}", API, path, fields, updateMask=",".join(sorted(fields)))


class IdentityPools:
    """Workload identity pools, and their providers under `POOL/PROVIDER`."""

    def __init__(self, api: GoogleRest) -> None:
        self.api = api
        self.path = f"/v1/projects/{api.project}/locations/global/workloadIdentityPools"

    def find(self, wanted: Wanted) -> Json | None:
        """The pool or provider, a deleted one too: its name is taken for weeks."""
        found = self.api.get(f"look up {wanted.key}", API, self._path(wanted))
        return found and seen(wanted, found)

    def create(self, wanted: Wanted) -> None:
        """Make it."""
        what, parent = f"create {wanted.key}", self._path(wanted).rpartition("/")[0]
        name = wanted.key.name.rpartition("/")[2]
        query = {
            "workloadIdentityPoolProviderId" if "/" in wanted.key.name else "workloadIdentityPoolId": name
        }
        body = {name: value for name, value in wanted.body.items() if name != "state"}
        self.api.finish(what, API, self.api.send("POST", what, API, parent, body, **query))

    def change(self, change: Change) -> None:
        """Bring the fields that differ to what they shall be."""
        what, fields = f"change {change.key}", changed(change.wanted, change.fields)
        mask = ",".join(sorted(fields))
        path = self._path(change.wanted)
        self.api.finish(what, API, self.api.send("PATCH", what, API, path, fields, updateMask=mask))

    def _path(self, wanted: Wanted) -> str:
        pool, _, provider = wanted.key.name.partition("/")
        return f"{self.path}/{pool}/providers/{provider}" if provider else f"{self.path}/{pool}"
