"""An environment: a registry, a target, a store, and what is kept."""

from contextlib import suppress
from http import HTTPStatus
from typing import Annotated, Any, cast

from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectHTTPStatusError
from pydantic import Discriminator, Field, Tag, ValidationError

from blocks.cloud_storage import CloudStorage
from blocks.image_builder import ImageBuilder
from blocks.image_registry import ImageRegistry
from blocks.light_block import LightBlock
from blocks.model_store import ModelStore
from blocks.store import DirectoryStore
from blocks.targets.compute_engine import ComputeEngineInstances
from blocks.targets.container_declaration import ContainerDeclaration
from blocks.targets.local import LocalTarget
from blocks.targets.managed_group import ManagedInstanceGroup
from releases.acme import Issuer
from releases.ledger import Ledger
from releases.problem import BadInput, Problem
from releases.reconcile import Drifted
from releases.rules import Rules
from releases.trigger import Rule, Watched, WatchedServices
from releases.version import Releasing


def _target_type(value: Any) -> str:
    return str(value.get("type", "local") if isinstance(value, dict) else value.type)


def _store_type(value: Any) -> str:
    return str(value.get("type", "directory") if isinstance(value, dict) else value.type)


AnyTarget = Annotated[
    Annotated[LocalTarget, Tag("local")]
    | Annotated[ComputeEngineInstances, Tag("compute-engine")]
    | Annotated[ManagedInstanceGroup, Tag("managed-group")]
    | Annotated[ContainerDeclaration, Tag("container-declaration")],
    Discriminator(_target_type),
]
AnyStore = Annotated[
    Annotated[DirectoryStore, Tag("directory")] | Annotated[CloudStorage, Tag("cloud-storage")],
    Discriminator(_store_type),
]


class Environment(LightBlock, Block):
    """Everything that a flow needs to know of an environment."""

    _block_type_name = "Environment"
    _block_type_slug = "environment"

    name: str
    branch: str | None = Field(None, description="Pushes to this branch are released here.")
    tags: str = Field("", description="Tags like this are released here, for example v*.")
    services: WatchedServices = Field(default_factory=list, description="What is released by a push.")
    release: Releasing = Field("by hand", description="auto: what is live here gets the next version tag.")
    reconcile: Drifted = Field("report", description="repair: also mend what was changed by hand.")
    acme: Issuer | None = Field(None, description="Who issues certificates that come by ACME.")
    rules: Rules = Field(default_factory=Rules, description="What a release must pass; who is told.")
    builder: ImageBuilder
    registry: ImageRegistry
    target: AnyTarget
    store: AnyStore

    @property
    def document(self) -> str:
        """The block document's id: another server's environment of the same name has another."""
        return str(self._block_document_id)

    def ledger(self, service: str) -> Ledger:
        """The record of the service's releases here."""
        return Ledger(self.store, service, self.name)

    @property
    def rule(self) -> Rule:
        """What pushes start here."""
        return Rule(self.name, self.branch or "", tuple(self.services), self.tags)

    def watched(self, service: str) -> Watched | None:
        """Where the service is pushed to, if it is released by pushes."""
        return next((one for one in self.services if one.name == service), None)

    def bring_image(self, image: str) -> None:
        """Have a released image on the node, where that is this machine: its agent knows no login of ours.

        What cannot be had is left to the agent, which makes room for it and says what went wrong.
        """
        if isinstance(self.target, LocalTarget):
            with suppress(Problem):
                self.registry.have(image)

    def models(self) -> ModelStore:
        """The model versions that can be released here."""
        return ModelStore(self.store)


def environment_names() -> list[str]:
    """Every environment that there is."""
    with get_client(sync_client=True) as client:
        try:
            found = client.read_block_documents_by_type(
                Environment.get_block_type_slug(), include_secrets=False
            )
        except PrefectHTTPStatusError as error:
            if error.response.status_code != HTTPStatus.NOT_FOUND:
                raise
            return []  # the type comes with the first of them
    return sorted(document.name for document in found if document.name)


def load_environment(name: str) -> Environment:
    """The environment's block. Raises BadInput where there is none, or one that does not fit."""
    try:
        return cast("Environment", Environment.load(name))
    except ValueError as error:
        raise BadInput(
            f"there is no environment {name}",
            expected="one of deployments/environments.yaml, applied",
            next_step="model-deploy apply",
        ) from error
    except RuntimeError as error:
        if not isinstance(error.__cause__, ValidationError):
            raise
        raise BadInput(
            f"the environment {name} cannot be read",
            expected="one that this version of model-deploy has applied",
            next_step="model-deploy apply",
        ) from error
