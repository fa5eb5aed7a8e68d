"""What every kind of resource can do."""

from typing import Protocol

from releases.provisioning.wanted import Change, Json, Wanted


class Part(Protocol):
    """One kind of resource. All raise Problem; writing raises Conflict where reading again is the answer."""

    def find(self, wanted: Wanted) -> Json | None:
        """The resource in the words of its wanted body; None where there is none."""

    def create(self, wanted: Wanted) -> None:
        """Make it, and wait until it is made."""

    def change(self, change: Change) -> None:
        """Bring the fields that differ to what they shall be."""
