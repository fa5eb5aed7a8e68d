"""GitHub: what a release tells it, and what the webhook needs of it.

GitHub is for people to look at, never part of a release: where it is down or refuses, methods say so by what
they return, and the release goes on.
"""

import logging
import time
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, Literal, TypeVar
from urllib.parse import urlencode

import httpx
from prefect.blocks.core import Block
from pydantic import BaseModel, Field, PrivateAttr, RootModel, SecretStr, ValidationError

from blocks.light_block import LightBlock

LOG = logging.getLogger("model_deploy.github")
ATTEMPTS = 4
FIRST_PAUSE = 0.5
REQUEST_SECONDS = 10.0
VERSION = "2022-11-28"
LONGEST_DESCRIPTION = 140
MORE = {HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS}  # how GitHub says "too many"

Model = TypeVar("Model", bound=BaseModel)
State = Literal["pending", "success", "failure", "error"]
DeploymentState = Literal["queued", "pending", "in_progress", "success", "failure", "error", "inactive"]


@dataclass(frozen=True)
class Sent:
    """What came of a request. `status` 0: GitHub was not reached."""

    status: int = 0
    body: Any = None
    why: str = ""

    @property
    def ok(self) -> bool:
        """Whether GitHub did what was asked."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    @property
    def exists(self) -> bool:
        """Whether it was refused because it is there already.

        https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api#validation-failed
        """
        errors = self.body.get("errors") if isinstance(self.body, dict) and not self.ok else None
        return any(isinstance(one, dict) and one.get("code") == "already_exists" for one in errors or [])


class _Numbered(BaseModel):
    id: int


class _Message(BaseModel):
    message: str


class _Commit(BaseModel):
    sha: str
    commit: _Message


class _Comparison(BaseModel):
    commits: list[_Commit]


class Deployment(_Numbered):
    """One that GitHub shows."""

    created_at: datetime
    description: str | None = None


class Status(BaseModel):
    """What GitHub shows beside a commit."""

    context: str
    state: str
    created_at: datetime
    target_url: str | None = None


class _Statuses(BaseModel):
    statuses: list[Status]


class _Deployments(RootModel[list[Deployment]]):
    pass


class _HookConfig(BaseModel):
    url: str = ""


class _Hook(_Numbered):
    config: _HookConfig


class _Hooks(RootModel[list[_Hook]]):
    pass


class GitHub(LightBlock, Block):
    """A token for GitHub, and the secrets that it signs its webhook's deliveries with."""

    _block_type_name = "GitHub Connection"
    _block_type_slug = "github-connection"

    token: SecretStr = Field(description="A fine-grained personal access token, or an app's.")
    api: str = Field("https://api.github.com", description="Another one for GitHub Enterprise.")
    patience: float = Field(20, gt=0, description="Seconds that one call may take, retries included.")
    webhook_secret: SecretStr | None = None
    former_webhook_secret: SecretStr | None = Field(None, description="Accepted too, while secrets change.")

    _not_before: float = PrivateAttr(0.0)
    _away: bool = PrivateAttr(default=False)

    @property
    def away(self) -> bool:
        """Whether the last request was not taken but may be later: GitHub was not reached, or limits us.

        So with a token that it does not know: a person replaces that. Any other refusal stays one.
        """
        return self._away

    def set_status(
        self,
        repository: str,
        commit: str,
        state: State,
        *,
        context: str,
        description: str = "",
        link: str = "",
    ) -> bool:
        """Show a release's state beside its commit; whether it got through."""
        body = {
            "state": state,
            "context": context,
            "description": _shortened(description),
            **({"target_url": link} if link else {}),
        }
        return self.send("POST", f"/repos/{repository}/statuses/{commit}", body).ok

    def status(self, repository: str, commit: str, context: str) -> Status | None:
        """What is shown beside the commit in this context; None where nothing is, or GitHub does not say."""
        found = _read(
            _Statuses, self.send("GET", f"/repos/{repository}/commits/{commit}/status?per_page=100")
        )
        return next((one for one in found.statuses if one.context == context), None) if found else None

    def open_deployment(
        self, repository: str, commit: str, environment: str, *, production: bool, description: str = ""
    ) -> int | None:
        """Begin a deployment; its id, None where that did not get through.

        Without required contexts: what must be green before a release is our business, not GitHub's.
        """
        body = {
            "ref": commit,
            "environment": environment,
            "production_environment": production,
            "description": _shortened(description),
            "auto_merge": False,
            "required_contexts": [],
        }
        sent = self.send("POST", f"/repos/{repository}/deployments", body)
        made = _read(_Numbered, sent)
        return made.id if made else None

    def set_deployment(
        self,
        repository: str,
        deployment: int,
        state: DeploymentState,
        *,
        url: str = "",
        link: str = "",
        description: str = "",
    ) -> bool:
        """Say how a deployment goes, with the environment's address; whether it got through."""
        body = {
            "state": state,
            "description": _shortened(description),
            **({"environment_url": url} if url else {}),
            **({"log_url": link} if link else {}),
        }
        return self.send("POST", f"/repos/{repository}/deployments/{deployment}/statuses", body).ok

    def deployments(self, repository: str, commit: str, environment: str) -> list[Deployment]:
        """Those of a commit in an environment, newest first; none where GitHub does not say."""
        query = urlencode({"sha": commit, "environment": environment})
        found = _read(_Deployments, self.send("GET", f"/repos/{repository}/deployments?{query}"))
        return found.root if found else []

    def commits(self, repository: str, old: str, new: str) -> dict[str, str] | None:
        """Commit → message from one to the other, newest first, at most 250; None where unknown."""
        sent = self.send("GET", f"/repos/{repository}/compare/{old}...{new}")
        compared = _read(_Comparison, sent)
        return {one.sha: one.commit.message for one in reversed(compared.commits)} if compared else None

    def publish(self, repository: str, tag: str, commit: str, notes: str) -> Sent:
        """Write a release, and the tag that it needs."""
        body = {"tag_name": tag, "target_commitish": commit, "name": tag, "body": notes}
        return self.send("POST", f"/repos/{repository}/releases", body)

    def save_hook(self, repository: str, url: str, secret: str) -> Sent:
        """Have a webhook with this secret; one that is there for the address is changed."""
        config = {"url": url, "content_type": "json", "secret": secret, "insecure_ssl": "0"}
        body = {"name": "web", "active": True, "events": ["push", "pull_request"], "config": config}
        listed = self.send("GET", f"/repos/{repository}/hooks?per_page=100")
        hooks = _read(_Hooks, listed)
        if hooks is None:
            return listed if not listed.ok else Sent(why="the answer is no list of webhooks")
        there = [hook.id for hook in hooks.root if hook.config.url == url]
        if there:
            return self.send("PATCH", f"/repos/{repository}/hooks/{there[0]}", body)
        return self.send("POST", f"/repos/{repository}/hooks", body)

    def send(self, method: str, path: str, body: Any = None) -> Sent:
        """One request, tried again where that can help and time is left. Raises for nothing GitHub does."""
        ends, sent, pause = time.monotonic() + self.patience, Sent(why="a rate limit holds"), 0.0
        limited: float | None = None
        for _ in range(ATTEMPTS):
            now = time.monotonic()
            wait = max(pause, self._not_before - now)  # asking while a limit holds makes it last longer
            if now + wait > ends:
                break
            time.sleep(wait)
            sent, limited = self._send_once(method, path, body, ends)
            if limited is None:
                break
            self._not_before = time.monotonic() + limited
            pause = pause * 2 or FIRST_PAUSE
        later = limited is not None or sent.status in {0, HTTPStatus.UNAUTHORIZED}
        self._away = later and not sent.ok
        if not sent.ok:
            LOG.warning("GitHub: %s %s: %s", method, path.partition("?")[0], sent.why)
        return sent

    def _send_once(self, method: str, path: str, body: Any, ends: float) -> tuple[Sent, float | None]:
        """What came, and how long GitHub wants to be left alone: None where asking again cannot help."""
        left = max(0.1, min(REQUEST_SECONDS, ends - time.monotonic()))
        headers = {
            "Authorization": f"Bearer {self.token.get_secret_value()}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": VERSION,
        }
        try:
            answer = httpx.request(method, f"{self.api}{path}", json=body, headers=headers, timeout=left)
        except httpx.HTTPError as error:
            return Sent(why=f"not reached: {type(error).__name__}"), 0.0
        sent = Sent(answer.status_code, _json(answer), _why(answer))
        if answer.status_code in MORE:
            return sent, _limited_for(answer)
        return sent, 0.0 if answer.is_server_error else None


def _read(model: type[Model], sent: Sent) -> Model | None:
    """The part of an answer that we need; None where it is not there."""
    try:
        return model.model_validate(sent.body) if sent.ok else None
    except ValidationError:
        LOG.warning("GitHub answers something else than asked for: %s", model.__name__)
        return None


def _limited_for(answer: httpx.Response) -> float | None:
    """Seconds; None where this is no rate limit, but a refusal."""
    after = answer.headers.get("retry-after", "")
    if after.isdigit():
        return float(after)
    if answer.headers.get("x-ratelimit-remaining") == "0":
        reset = answer.headers.get("x-ratelimit-reset", "")
        return max(1.0, float(reset) - time.time()) if reset.isdigit() else 60.0
    limited = answer.status_code == HTTPStatus.TOO_MANY_REQUESTS or "rate limit" in answer.text.lower()
    return 60.0 if limited else None


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        return None


def _why(answer: httpx.Response) -> str:
    body = _json(answer)
    message = body.get("message", "") if isinstance(body, dict) else ""
    return "" if answer.is_success else f"HTTP {answer.status_code} {message}".strip()


def _shortened(text: str) -> str:
    """GitHub refuses longer descriptions."""
    return text if len(text) <= LONGEST_DESCRIPTION else text[: LONGEST_DESCRIPTION - 1] + "…"
