"""Google's APIs: whose credentials, at which address, and their refusals as problems for people."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect.blocks.core import Block
from pydantic import Field

from blocks.light_block import LightBlock
from releases.problem import BadInput, Failed, Problem, Unreachable

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

TOKEN_READ_AGAIN = timedelta(minutes=5)
PERMISSION = re.compile(r"(?:have|equired|ermission) '?([a-z]+\.[A-Za-z]+\.[A-Za-z]+)\b")
QUOTA = ("quotaExceeded", "QUOTA_EXCEEDED", "ZONE_RESOURCE_POOL_EXHAUSTED", "rateLimitExceeded")
TRANSIENT = (408, 429, 500, 502, 503, 504)
SCOPE = "https://www.googleapis.com/auth/cloud-platform"


class GoogleApi(LightBlock, Block):
    """What every block needs that calls one of Google's APIs.

    Credentials are named, not nested: a secret stays in one block, and prefect_gcp, whose import takes
    over a second of every command, is loaded only where it is used.
    """

    credentials: str | None = Field(
        None, description="Name of a GCP Credentials block; those of the flow's machine if not given."
    )
    access_token_file: Path | None = Field(
        None, description="Instead: a file with an access token that something else keeps fresh."
    )
    endpoint: str | None = Field(None, description="A private endpoint; Google's public one if not given.")

    @cached_property
    def google_credentials(self) -> "Credentials":
        """Credentials that refresh themselves. Raises BadInput where there are none."""
        from google.auth import default  # noqa: PLC0415 - cloud environments only
        from google.auth.exceptions import DefaultCredentialsError  # noqa: PLC0415

        if self.access_token_file is not None:
            return _from_file(self.access_token_file)
        if self.credentials is not None:
            from prefect_gcp import GcpCredentials  # noqa: PLC0415

            try:
                found: Any = GcpCredentials.load(self.credentials)
            except ValueError as error:
                raise BadInput(
                    f"there is no GCP Credentials block {self.credentials}",
                    where="`credentials` in the environments' file",
                    next_step="make it in Prefect's UI, under Blocks",
                ) from error
            return found.get_credentials_from_service_account()  # type: ignore[no-any-return]
        try:
            return default(scopes=[SCOPE])[0]
        except DefaultCredentialsError as error:
            raise BadInput(
                "there are no credentials for Google Cloud here",
                expected="a worker with an attached service account, or credentials in the block",
                got=str(error).splitlines()[0][:200],
                next_step="gcloud auth application-default login",
            ) from error

    @property
    def client_options(self) -> dict[str, str]:
        """For any of Google's clients."""
        return {"api_endpoint": self.endpoint} if self.endpoint else {}


def _from_file(path: Path) -> "Credentials":
    from google.oauth2.credentials import Credentials  # noqa: PLC0415

    def read(_request: Any, scopes: Any) -> tuple[str, datetime]:  # noqa: ARG001 - google-auth's names
        try:
            token = path.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise BadInput("the access token cannot be read", where=str(path), got=str(error)) from error
        return token, (datetime.now(UTC) + TOKEN_READ_AGAIN).replace(tzinfo=None)

    found: Any = Credentials(None, refresh_handler=read)  # type: ignore[no-untyped-call]
    return found  # type: ignore[no-any-return]


@contextmanager
def said_plainly(doing: str, where: str, grant: str = "") -> Iterator[None]:
    """Turn what Google's clients raise into problems. Raises Unreachable, Failed.

    `grant`: the command that gives the right, where that is what is missing.
    """
    import requests  # noqa: PLC0415
    from google.api_core.exceptions import GoogleAPICallError, RetryError  # noqa: PLC0415
    from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415

    try:
        yield
    except GoogleAPICallError as error:
        raise refusal(int(error.code or 0), _reason(error), error.message, doing, where, grant) from error
    except RetryError as error:
        raise refusal(503, "", str(error.cause or error), doing, where, grant) from error
    except (requests.RequestException, OSError, GoogleAuthError) as error:
        raise refusal(503, "", f"{type(error).__name__}: {error}", doing, where, grant) from error


def refusal(code: int, reason: str, message: str, doing: str, where: str, grant: str = "") -> Problem:
    """The problem that names what is missing: a permission (`grant` gives it), a quota, the thing itself."""
    got = f"{code or reason}: {message}"[:400]
    if reason in QUOTA and code != 429:  # noqa: PLR2004 - Too Many Requests passes by itself
        quota = next(iter(re.findall(r"'([A-Za-z0-9_\-]+)'", message)), "")
        return Failed(
            f"cannot {doing}: the quota {quota or 'of the project'} is used up",
            where,
            got=got,
            next_step="gcloud compute project-info describe --flatten=quotas; ask for more in the console",
        )
    if code in {401, 403}:
        named = PERMISSION.search(message)
        expected = f"the permission {named[1]}" if named else "a permission that its role does not give"
        return Failed(
            f"cannot {doing}: the deployer may not",
            where,
            expected,
            got,
            grant or "gcloud projects add-iam-policy-binding PROJECT --member=MEMBER --role=ROLE",
        )
    if code in TRANSIENT:
        return Unreachable(
            f"cannot {doing}: Google's API does not answer",
            where,
            got=got,
            next_step="start it again in some minutes; Google tells of outages at https://status.cloud.google.com",
        )
    if code == 404:  # noqa: PLR2004 - HTTP's Not Found
        return Failed(
            f"cannot {doing}: it does not exist",
            where,
            got=got,
            next_step="look whether it was deleted, or is named otherwise in the environments' file",
        )
    return Failed(f"cannot {doing}", where, got=got)


def _reason(error: Any) -> str:
    """`errors[0].reason` of Google's error body."""
    found: Any = next(iter(getattr(error, "errors", None) or []), {})
    return str(found.get("reason", "")) if isinstance(found, dict) else ""
