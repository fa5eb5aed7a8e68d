"""An environment in Google Cloud, and the credentials to look after it."""

from typing import cast

from pydantic import Field

from blocks.google_api import GoogleApi
from blocks.provisioning.google_rest import GoogleRest
from blocks.provisioning.provisioner import Provisioner
from releases.problem import BadInput
from releases.provisioning.described import CloudEnvironment


class GoogleCloud(GoogleApi):
    """What `cloud` says in the environments' file."""

    _block_type_name = "Google Cloud Environment"
    _block_type_slug = "google-cloud-environment"

    described: CloudEnvironment = Field(description="What there shall be.")

    def provisioner(self) -> Provisioner:
        """The way to the APIs. Raises BadInput where nobody is logged in."""
        cloud = self.described
        rest = GoogleRest(self.google_credentials, self.endpoint, cloud.project)
        return Provisioner(rest, cloud)


def load_google_cloud(name: str) -> GoogleCloud:
    """The environment's block. Raises BadInput where there is none."""
    try:
        return cast("GoogleCloud", GoogleCloud.load(name))
    except ValueError as error:
        raise BadInput(
            f"there is no environment {name} in Google Cloud",
            expected="one with a `cloud` section in the environments' file",
            next_step=f"model-deploy provision --environment {name}",
        ) from error
