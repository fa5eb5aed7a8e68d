"""The `cloud` section of the environments' file: an environment in Google Cloud, said in a few words."""

from ipaddress import IPv4Network
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from releases.acme import account_of

ProjectId = Annotated[str, Field(pattern=r"^[a-z][-a-z0-9]{4,28}[a-z0-9]$")]
Zone = Annotated[
    str, Field(pattern=r"^[a-z]+-[a-z]+[0-9]+-[a-z]$", description="For example europe-west1-b.")
]
# So short because service accounts are named after it: `production-deployer`, 30 characters at most.
EnvironmentName = Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]{0,18}[a-z0-9])?$")]
GitHubRepository = Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$", description="OWNER/REPO.")]
SecretId = Annotated[str, Field(pattern=r"^[-_a-zA-Z0-9]{1,255}$")]
Port = Annotated[int, Field(ge=1, le=65535)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Machines(_Section):
    """The VMs."""

    count: int = Field(1, ge=0, le=100)
    agent_image: str = Field("", description="Where the VMs pull the agent from, pinned by digest.")
    edge_image: str = Field("", description="HAProxy 2.6 or newer, from where the VMs can pull it.")
    registry: str = Field(
        "", description="Host that sees their account's token; the region's Artifact Registry if not given."
    )
    type: str = Field("e2-standard-4", description="4 vCPU and 16 GB.")
    disk_gb: int = Field(50, ge=10, description="Images, log segments and the model cache live on it.")
    image_family: str = Field("cos-stable", description="Of the project cos-cloud.")
    gpu: bool = Field(False, description="Install the driver; the machine type brings the GPU, as g2-… does.")
    external_ip: bool = Field(False, description="Without, Google's APIs are reached from inside the VPC.")
    group: bool = Field(False, description="They are a managed instance group's, which makes them itself.")

    @model_validator(mode="after")
    def _can_boot(self) -> Self:
        if self.count and not (self.agent_image and self.edge_image):
            raise ValueError("VMs need `agent_image` and `edge_image`; `count: 0` makes everything but VMs")
        return self


class Keeping(_Section):
    """How long things are kept, in days."""

    models: int = Field(90, ge=1, description="Models and ledger: nobody can delete or overwrite before.")
    deleted: int = Field(30, ge=7, le=90, description="What was deleted can be brought back so long.")
    images: int = Field(90, ge=1, description="Images that were never released; released ones stay.")
    logs_warm: int = Field(30, ge=1, description="Then logs move to Coldline.")
    logs: int = Field(400, ge=2, description="Then logs are deleted.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.logs <= self.logs_warm:
            raise ValueError("`logs` must be more than `logs_warm`: they are moved before they are deleted")
        return self


class CloudEnvironment(_Section):
    """An environment in Google Cloud, as its owner describes it."""

    name: EnvironmentName = Field(description="The environment's name; taken from the file's heading.")
    project: ProjectId
    zone: Zone
    ports: tuple[Port, ...] = Field(min_length=1, description="The services' public ports.")
    tls_ports: tuple[Port, ...] = Field((), description="Of the edge, where TLS ends; 443 for example.")
    sources: tuple[IPv4Network, ...] = Field(
        min_length=1, description="Who may reach the ports, as CIDR ranges; 0.0.0.0/0 is everybody."
    )
    network: str = "default"
    subnetwork: str = Field("", description="Called as the network if not given.")
    machines: Machines
    keep: Keeping = Keeping()
    secrets: tuple[SecretId, ...] = Field((), description="In Secret Manager: what the nodes may read.")
    certificates: tuple[SecretId, ...] = Field(
        (), description="In Secret Manager: what the worker fetches by ACME, and the nodes may read."
    )
    repository: str = Field("model-deploy", pattern=r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$")
    github: tuple[GitHubRepository, ...] = Field(
        (), description="Repositories whose GitHub Actions may push images, without any key."
    )

    @model_validator(mode="after")
    def _one_owner(self) -> Self:
        both = sorted({*self.secrets} & {*self.certificates, *self.written_by_the_worker})
        if both:
            raise ValueError(f"{both[0]} is written by the worker: name it under `certificates` only")
        return self

    @property
    def written_by_the_worker(self) -> tuple[str, ...]:
        """The certificates' secrets, and the ACME account's that is needed for them."""
        return (*self.certificates, account_of(self.name)) if self.certificates else ()

    @property
    def region(self) -> str:
        """Where the repository and the buckets are."""
        return self.zone.rpartition("-")[0]

    @property
    def subnet(self) -> str:
        """The subnetwork; those of an automatic network are called as the network."""
        return self.subnetwork or self.network

    @property
    def registry(self) -> str:
        """The host that images are pulled from."""
        return self.machines.registry or f"{self.region}-docker.pkg.dev"

    @property
    def models_bucket(self) -> str:
        """For models and the ledger: nothing in it ever changes."""
        return f"{self.project}-{self.name}-models"

    @property
    def data_bucket(self) -> str:
        """For logs, data, reports and what points to the current version of something."""
        return f"{self.project}-{self.name}-data"

    @property
    def vm_prefix(self) -> str:
        """How the VMs' names begin."""
        return f"{self.name}-node-"

    @property
    def vms(self) -> tuple[str, ...]:
        """The names of the VMs that are made one by one."""
        if self.machines.group:
            return ()
        return tuple(f"{self.vm_prefix}{number}" for number in range(1, self.machines.count + 1))

    @property
    def node(self) -> str:
        """The account that the VMs run as."""
        return self._account("node")

    @property
    def builder(self) -> str:
        """The account that pushes images."""
        return self._account("builder")

    @property
    def deployer(self) -> str:
        """The account of the worker that runs releases."""
        return self._account("deployer")

    @property
    def pool(self) -> str:
        """The workload identity pool of GitHub's runs."""
        return f"{self.name}-github"

    def _account(self, job: str) -> str:
        return f"{self.name}-{job}@{self.project}.iam.gserviceaccount.com"
