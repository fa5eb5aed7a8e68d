"""An environment: a registry, a target, a store, and what is kept."""

from typing import cast

from prefect.blocks.core import Block
from pydantic import Field

from blocks.image_builder import ImageBuilder
from blocks.image_registry import ImageRegistry
from blocks.model_store import ModelStore
from blocks.store import DirectoryStore
from blocks.targets.local import LocalTarget
from releases.ledger import Ledger
from releases.problem import BadInput
from releases.trigger import WatchedServices


class Environment(Block):
    """Everything that a flow needs to know of an environment."""

    _block_type_name = "Environment"
    _block_type_slug = "environment"

    name: str
    branch: str | None = Field(None, description="Pushes to this branch are released here.")
    services: WatchedServices = Field(default_factory=list, description="What is released by a push.")
    builder: ImageBuilder
    registry: ImageRegistry
    target: LocalTarget
    store: DirectoryStore

    def ledger(self, service: str) -> Ledger:
        """The record of the service's releases here."""
        return Ledger(self.store, service, self.name)

    def models(self) -> ModelStore:
        """The model versions that can be released here."""
        return ModelStore(self.store, self.store)


def load_environment(name: str) -> Environment:
    """The environment's block. Raises BadInput where there is none."""
    try:
        return cast("Environment", Environment.load(name))
    except ValueError as error:
        raise BadInput(
            f"there is no environment {name}",
            expected="one of deployments/environments.yaml, applied",
            next_step="model-deploy apply",
        ) from error
