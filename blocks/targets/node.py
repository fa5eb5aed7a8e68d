"""One node of many, as it was when it was read."""

from dataclasses import dataclass, field

from blocks.targets.edges import Edges
from releases import fleet
from releases.desired import Desired
from releases.problem import Problem


@dataclass(frozen=True)
class Node:
    """One node as it was when it was read."""

    id: str
    address: str
    document: str = field(repr=False)
    network: str = ""  # of the VPC
    off: str = ""  # what the machine is doing, if it is not running: it can be written to, not asked

    @property
    def desired(self) -> Desired:
        """Parsed. Raises Failed that names the node."""
        try:
            return fleet.parse(self.document)
        except Problem as problem:
            problem.where = f"{self.id}, metadata key model-deploy"
            raise


@dataclass
class Known:
    """What was read last; shared by the waves."""

    nodes: dict[str, Node] = field(default_factory=dict)
    read_at: float = float("-inf")
    edges: Edges = field(default_factory=Edges)
