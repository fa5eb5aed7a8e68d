"""An environment in Google Cloud, and the credentials to look after it."""

from typing import TYPE_CHECKING

from prefect.blocks.core import Block
from prefect_gcp import GcpCredentials
from pydantic import Field

from blocks.provisioning.google_api import GoogleApi
from blocks.provisioning.provisioner import Provisioner
from releases.problem import BadInput, Refused
from releases.provisioning.described import CloudEnvironment

if TYPE_CHECKING:
    from google.auth.credentials import Credentials


class GoogleCloud(Block):
    """What `cloud` says in the environments' file."""

    _block_type_name = "Google Cloud Environment"
    _block_type_slug = "google-cloud-environment"

    described: CloudEnvironment
    credentials: GcpCredentials | None = Field(
        None, description="Whoever is logged in on the machine that runs the flow, if empty."
    )
    user_data: str = Field("", description="The cloud-init of the VMs.")

    def provisioner(self) -> Provisioner:
        """The way to the APIs. Raises Refused where nobody is logged in."""
        cloud = self.described
        return Provisioner(GoogleApi(self._login(), cloud.endpoint, cloud.project), cloud)

    def _login(self) -> "Credentials":
        from google.auth.exceptions import DefaultCredentialsError  # noqa: PLC0415 - slow to import

        try:
            known = self.credentials or GcpCredentials(project=self.described.project)
            return known.get_credentials_from_service_account()
        except DefaultCredentialsError as error:
            raise Refused(
                "nobody is logged in to Google Cloud on this machine",
                got=str(error).splitlines()[0],
                next_step="gcloud auth application-default login",
            ) from error


def load_google_cloud(name: str) -> GoogleCloud:
    """The environment's block. Raises BadInput where there is none."""
    try:
        return GoogleCloud.load(name)
    except ValueError as error:
        raise BadInput(
            f"there is no environment {name} in Google Cloud",
            expected="one with a `cloud` section in the environments' file",
            next_step=f"model-deploy provision --environment {name}",
        ) from error
