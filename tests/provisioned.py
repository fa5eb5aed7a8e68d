"""An environment provisioned on the sandbox, with every word of it held against Google's own descriptions."""

from dataclasses import dataclass, field
from typing import Any

from google.oauth2.credentials import Credentials

from blocks.provisioning.google_rest import GoogleRest
from blocks.provisioning.provisioner import Provisioner
from releases.provisioning.described import CloudEnvironment
from releases.provisioning.wanted import Plan
from tests.sandbox.conftest import Cloud

SECTION: dict[str, Any] = {
    "project": "sandbox",
    "zone": "europe-west1-b",
    "ports": [443],
    "sources": ["10.0.0.0/8"],
    "secrets": ["database"],
    "certificates": ["staging-iris-tls"],
    "github": ["acme/models"],
    "machines": {"count": 1, "agent_image": "registry/agent", "edge_image": "registry/edge"},
}
DESCRIBED = CloudEnvironment.model_validate({"name": "staging", **SECTION})


@dataclass
class Provisioned:
    """A sandbox and the way to it."""

    cloud: Cloud
    described: CloudEnvironment = field(default_factory=lambda: DESCRIBED)
    patience: float = 30.0

    def provisioner(self, member: str = "", **changes: Any) -> Provisioner:
        """As the owner, or as somebody else."""
        token = self.cloud.token(member) if member else self.cloud.at.token
        described = self.described.model_copy(update=changes)
        rest = GoogleRest(Credentials(token), self.cloud.at.api, described.project, self.patience)
        return Provisioner(rest, described, self.patience)

    def plan(self, **changes: Any) -> Plan:
        return self.provisioner(**changes).plan()

    def apply(self, **changes: Any) -> Plan:
        """Everything that there is to do."""
        provisioner = self.provisioner(**changes)
        made = provisioner.plan()
        for change in made.todo:
            provisioner.bring(change.wanted)
        return made

    def todo(self) -> list[str]:
        return [str(one.key) for one in self.plan().todo]

    def as_(self, email: str) -> dict[str, str]:
        """The headers of a request as this service account."""
        return {"Authorization": f"Bearer {self.cloud.token(f'serviceAccount:{email}')}"}
