"""How a release names a secret: `NAME`, or `NAME/versions/3` for one version of it."""

import re
from dataclasses import dataclass

LATEST = "latest"
_REFERENCE = re.compile(r"(?P<name>[A-Za-z0-9_-]{1,255})(/versions/(?P<version>[0-9]+|latest))?")


@dataclass(frozen=True)
class SecretReference:
    """Which secret, and which version of it."""

    name: str
    version: str = LATEST

    @classmethod
    def parse(cls, text: str) -> "SecretReference | None":
        """None where it is no reference."""
        match = _REFERENCE.fullmatch(text)
        return cls(match["name"], match["version"] or LATEST) if match else None

    def path(self, project: str) -> str:
        """The version's name in Secret Manager."""
        return f"projects/{project}/secrets/{self.name}/versions/{self.version}"
