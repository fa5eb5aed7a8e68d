"""The values behind references to secrets; they go into one container's environment, nowhere else."""

from pathlib import Path
from typing import Protocol

from agent.failure import StepFailed
from releases.secret_reference import SecretReference
from releases.status import Phase


class Secrets(Protocol):
    """Where a node finds them."""

    look_every: float  # seconds, for new versions of certificates

    def read(self, reference: SecretReference) -> str:
        """The value. Raises StepFailed."""


class SecretFiles:
    """A folder of files that only the agent reads; it knows one version of each."""

    look_every = 2.0

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, reference: SecretReference) -> str:
        """The file's content without the line's end. Raises StepFailed."""
        try:
            return (self.folder / reference.name).read_text(encoding="utf-8").rstrip("\n")
        except OSError as error:
            raise StepFailed(
                Phase.start,
                f"the secret {reference.name!r} is not on this node",
                next_step=f"write it to secrets/{reference.name}",
            ) from error
        except UnicodeDecodeError:
            # `from None`: such an error holds the value
            raise StepFailed(
                Phase.start,
                f"the secret {reference.name!r} is no UTF-8 text",
                next_step=f"write it as UTF-8 to secrets/{reference.name}",
            ) from None
