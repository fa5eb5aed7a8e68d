"""Artifact Registry, pulled from in the name of the VM's service account."""

from agent.google.metadata import MetadataServer

USER = "oauth2accesstoken"  # the name that says: the password is an access token


class RegistryLogin:
    """What to tell one registry; no other ever sees a token."""

    def __init__(self, metadata: MetadataServer, host: str) -> None:
        self.metadata = metadata
        self.host = host
        self.last = ""

    def of(self, image: str, *, refused: bool = False) -> dict[str, str] | None:
        """docker-py's auth_config; another one than the last if that was refused. Raises GoogleError."""
        if image.partition("/")[0] != self.host:
            return None
        self.last = self.metadata.token(not_this=self.last if refused else "")
        return {"username": USER, "password": self.last}
