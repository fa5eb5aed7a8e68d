"""What we read of a push payload; GitHub sends a hundred fields more."""

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from releases.pull_request import PullRequest
from releases.trigger import TAG, Push

COMMIT = r"^([0-9a-f]{40}|[0-9a-f]{64})$"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)


class Commit(_Part):
    """The files of one commit."""

    added: list[str] = []
    removed: list[str] = []
    modified: list[str] = []


class HeadCommit(_Part):
    """The newest commit of a push; an annotated tag's `after` is not the commit, but the tag."""

    id: str = Field("", pattern=f"^$|{COMMIT}")


class Repository(_Part):
    """The repository that was pushed to."""

    full_name: str


class PushPayload(_Part):
    """An event `push`."""

    ref: str
    before: str = Field("", pattern=f"^$|{COMMIT}")
    after: str = Field(pattern=COMMIT)
    created: bool = False
    deleted: bool = False
    forced: bool = False
    commits: list[Commit] = []
    head_commit: HeadCommit | None = None
    repository: Repository

    def facts(self) -> Push:
        """What the rules ask for."""
        files = [frozenset([*one.added, *one.removed, *one.modified]) for one in self.commits]
        return Push(
            repository=self.repository.full_name,
            ref=self.ref,
            after=(self.ref.startswith(TAG) and self.head_commit and self.head_commit.id) or self.after,
            created=self.created,
            deleted=self.deleted,
            forced=self.forced,
            commits=tuple(files),
            before=self.before,
        )


class Branch(_Part):
    """One side of a pull request."""

    ref: str
    sha: str = Field(pattern=COMMIT)


class Sides(_Part):
    """What is to be merged into what."""

    head: Branch
    base: Branch


class PullRequestPayload(_Part):
    """An event `pull_request`."""

    action: str
    number: int = Field(ge=1)
    pull_request: Sides
    repository: Repository

    def facts(self) -> PullRequest:
        """What the rules ask for."""
        return PullRequest(
            repository=self.repository.full_name,
            number=self.number,
            action=self.action,
            base=self.pull_request.base.ref,
            after=self.pull_request.head.sha,
        )


class NotJson(ValueError):  # noqa: N818 - says what it is
    """The body is no JSON at all."""


class NotTheEvent(ValueError):  # noqa: N818 - says what it is
    """The body is JSON, but not of the event. Says which field is wrong, never what stood there."""


PAYLOADS: dict[str, type[PushPayload | PullRequestPayload]] = {
    "push": PushPayload,
    "pull_request": PullRequestPayload,
}


def read_payload(event: str, body: bytes) -> Push | PullRequest:
    """Parse a body whose signature was checked. Raises NotJson, NotTheEvent."""
    try:
        return PAYLOADS[event].model_validate_json(body).facts()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        if first["type"] == "json_invalid":
            raise NotJson(first["msg"]) from None
        field = ".".join(str(part) for part in first["loc"])
        raise NotTheEvent(f"{field}: {first['msg']}" if field else first["msg"]) from None
