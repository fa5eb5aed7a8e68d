"""What a release, a rollback or a promotion came to: for the run in the UI, the terminal and scripts."""

from typing import Self

from pydantic import BaseModel

from flows.deploying import Deployed


class ReleaseResult(BaseModel):
    """A release that is live."""

    service: str
    environment: str
    number: int
    version: str
    image: str
    model: str = ""
    url: str
    reused: bool
    seconds: dict[str, float]

    @classmethod
    def of(cls, deployed: Deployed, *, reused: bool) -> Self:
        """The result of a deploy. `reused`: its image was built before."""
        release = deployed.release
        return cls(
            service=release.service,
            environment=release.environment,
            number=release.number,
            version=release.version,
            image=release.image,
            model=str(release.model or ""),
            url=deployed.url,
            reused=reused,
            seconds=deployed.seconds,
        )
