"""A run to be stored, as a delivery asks for it."""

from dataclasses import dataclass

from releases.chain import Move, move
from releases.pull_request import Check
from releases.trigger import Start


@dataclass(frozen=True)
class Order:
    """A run to be stored, and the delivery that asks for it."""

    start: Start | Check
    delivery: str
    before: str = ""  # where the branch stood; empty: nothing is known of it

    @property
    def move(self) -> Move | None:
        """How it moved its branch.

        Not for checks: whether a pull request was forced back GitHub does not say, and reconcile starts none.
        """
        return move(self.start, self.before) if isinstance(self.start, Start) else None

    @property
    def key(self) -> str:
        """The same again starts nothing."""
        return self.start.key(self.delivery)
