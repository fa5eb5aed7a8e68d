"""What we read of a push payload; GitHub sends a hundred fields more."""

from pydantic import BaseModel, ConfigDict, Field, ValidationError

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
        )


class NotJson(ValueError):  # noqa: N818 - says what it is
    """The body is no JSON at all."""


class NotAPush(ValueError):  # noqa: N818 - says what it is
    """The body is JSON, but no push. Says which field is wrong, never what stood there."""


def read_push(body: bytes) -> Push:
    """Parse a body whose signature was checked. Raises NotJson, NotAPush."""
    try:
        return PushPayload.model_validate_json(body).facts()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        if first["type"] == "json_invalid":
            raise NotJson(first["msg"]) from None
        field = ".".join(str(part) for part in first["loc"])
        raise NotAPush(f"{field}: {first['msg']}" if field else first["msg"]) from None
