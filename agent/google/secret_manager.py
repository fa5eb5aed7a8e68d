"""Secrets in Secret Manager, read in the name of the VM's service account."""

import base64
import binascii

from agent.failure import StepFailed
from agent.google.api import Api
from agent.google.errors import NOT_FOUND, GoogleError
from releases.secret_reference import SecretReference
from releases.status import Phase

FORBIDDEN = 403


class SecretManager:
    """Method projects.secrets.versions.access of https://cloud.google.com/secret-manager/docs/reference/rest."""

    look_every = 60.0

    def __init__(self, api: Api) -> None:
        self.api = api

    def read(self, reference: SecretReference) -> str:
        """The version's payload as text. Raises StepFailed, which never holds a value."""
        try:
            path = reference.path(self.api.metadata.text("project/project-id"))
            body = self.api.call("GET", f"/v1/{path}:access").json()
            return base64.b64decode(body["payload"]["data"]).decode()
        except GoogleError as error:
            raise StepFailed(
                Phase.start,
                f"the secret {reference.name!r} cannot be read: {error}",
                next_step=_next_step(reference, error.status),
            ) from error
        except (KeyError, binascii.Error, ValueError):
            # `from None`: such an error's text may show the value
            raise StepFailed(Phase.start, f"the secret {reference.name!r} is no UTF-8 text") from None


def _next_step(reference: SecretReference, status: int) -> str:
    if status == NOT_FOUND:
        return f"gcloud secrets versions list {reference.name}"
    if status == FORBIDDEN:
        grant = f"gcloud secrets add-iam-policy-binding {reference.name} --member=(the VM's account)"
        return f"{grant} --role=roles/secretmanager.secretAccessor"
    return "the agent's console says more: gcloud compute instances get-serial-port-output"
