"""What is there, what is wanted, and how one comes to the other."""

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from blocks.provisioning.artifact_registry import Repositories
from blocks.provisioning.compute import Firewalls, Subnetworks, Vms
from blocks.provisioning.google_rest import PATIENCE, Conflict, GoogleRest
from blocks.provisioning.iam import Accounts, IdentityPools, Roles
from blocks.provisioning.policies import Rights
from blocks.provisioning.secret_manager import Secrets
from blocks.provisioning.service_usage import Apis
from blocks.provisioning.storage import Buckets
from releases.problem import Failed
from releases.provisioning.described import CloudEnvironment
from releases.provisioning.resources import wanted
from releases.provisioning.wanted import Action, Change, Json, Key, Kind, Plan, Wanted, compare, plan

if TYPE_CHECKING:
    from blocks.provisioning.part import Part

PAUSE = 0.5
NEEDS = {
    Kind.account: "iam",
    Kind.role: "iam",
    Kind.pool: "iam",
    Kind.provider: "iam",
    Kind.secret: "secretmanager",
    Kind.repository: "artifactregistry",
    Kind.bucket: "storage",
    Kind.subnetwork: "compute",
    Kind.firewall: "compute",
    Kind.vm: "compute",
}
RIGHTS_NEED = {
    "project": "cloudresourcemanager",
    "repository": "artifactregistry",
    "bucket": "storage",
    "secret": "secretmanager",
    "account": "iam",
}


class Provisioner:
    """Looks at an environment's resources and brings them to what is wanted, one by one."""

    def __init__(self, api: GoogleRest, cloud: CloudEnvironment, patience: float = PATIENCE) -> None:
        self.cloud = cloud
        self.patience = patience
        self.apis = Apis(api)
        self.accounts = Accounts(api)
        self.rights = Rights(api, cloud)
        pools = IdentityPools(api)
        self.parts: dict[Kind, Part] = {
            Kind.api: self.apis,
            Kind.account: self.accounts,
            Kind.role: Roles(api),
            Kind.secret: Secrets(api),
            Kind.repository: Repositories(api, cloud.region),
            Kind.bucket: Buckets(api),
            Kind.pool: pools,
            Kind.provider: pools,
            Kind.rights: self.rights,
            Kind.subnetwork: Subnetworks(api, cloud.region),
            Kind.firewall: Firewalls(api),
            Kind.vm: Vms(api, cloud),
        }

    def plan(self) -> Plan:
        """Everything wanted against everything found; nothing is changed. Raises Problem."""
        everything = wanted(self.cloud, self.apis.project_number())
        found: dict[Key, Json | None] = {}
        for one in sorted(everything, key=lambda one: one.key):
            api = Key(Kind.api, f"{needed_api(one.key)}.googleapis.com")
            on = one.key.kind is Kind.api or (found.get(api) or {}).get("state") == "ENABLED"
            # An API that is off says nothing but that it is off; what it had, if anything, is met by `bring`.
            unknown: Json | None = {} if one.theirs else None
            found[one.key] = self.parts[one.key.kind].find(one) if on else unknown
        return plan(everything, found)

    def bring(self, one: Wanted) -> Change:
        """Bring a resource to what it shall be, whatever it is by now; what there was to do. Raises Problem.

        What was written is read again, so that two at work at once, a lost answer and a run that was killed
        half-way all end the same.
        """
        part, ends, first = self.parts[one.key.kind], 0.0, None
        while True:
            change = compare(one, part.find(one))
            first = first or change
            if change.action in {Action.unchanged, Action.by_hand}:
                return first
            if ends and time.monotonic() > ends:
                raise Failed(
                    f"{one.key} does not become what it shall be",
                    got=", ".join(field.path for field in change.fields) or "it is not there",
                    next_step="the same command again; if it stays so, somebody else may be changing it back",
                )
            if ends:
                time.sleep(PAUSE)
            with suppress(Conflict):
                if change.action is Action.create:
                    part.create(one)
                else:
                    part.change(change)
            ends = ends or time.monotonic() + self.patience  # an operation has its own deadline


def needed_api(key: Key) -> str:
    """The API that knows about the resource."""
    return RIGHTS_NEED[key.name.partition(" ")[0]] if key.kind is Kind.rights else NEEDS.get(key.kind, "")
