"""An environment: a registry, a target, a store, and what is kept."""

from prefect.blocks.core import Block

from blocks.image_builder import ImageBuilder
from blocks.image_registry import ImageRegistry
from blocks.store import DirectoryStore
from blocks.targets.local import LocalTarget
from releases.ledger import Ledger


class Environment(Block):
    """Everything that a flow needs to know of an environment."""

    _block_type_name = "Environment"
    _block_type_slug = "environment"

    name: str
    builder: ImageBuilder
    registry: ImageRegistry
    target: LocalTarget
    store: DirectoryStore

    def ledger(self, service: str) -> Ledger:
        """The record of the service's releases here."""
        return Ledger(self.store, service, self.name)
