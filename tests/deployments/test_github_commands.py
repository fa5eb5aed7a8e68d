"""`model-deploy github connect` against a small GitHub and a real Prefect server."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from pydantic import SecretStr

from blocks.github import GitHub
from deployments import github_commands, stack
from deployments.webhook.prefect_api import Setup, read_setup
from tests.deployments.conftest import PUBLIC, PrefectServer, Receiver, push
from tests.github.server import TOKEN, FakeGitHub, Trouble
from tests.http_server import json_answer, serving


def test_connecting_makes_a_webhook_once_and_keeps_its_secret(
    prefect_server: PrefectServer, receiver: Receiver
) -> None:
    before = len(prefect_server.github.hooks)
    secret = prefect_server.connect()
    assert len(prefect_server.github.hooks) == before
    assert secret == receiver.secret
    hook = prefect_server.github.hooks[-1]
    assert hook["config"]["url"] == f"{PUBLIC}/webhooks/github"
    assert hook["events"] == ["push", "pull_request"]
    assert len(secret) >= 32


def wait_until_known(receiver: Receiver, secret: str) -> None:
    receiver.secret = secret
    deadline = time.monotonic() + 15
    while receiver.deliver(push(ref="refs/tags/v1")).status_code == 401 and time.monotonic() < deadline:
        time.sleep(0.1)


def test_a_new_secret_is_accepted_beside_the_one_before_it(
    prefect_server: PrefectServer, receiver: Receiver
) -> None:
    old = receiver.secret
    new = prefect_server.connect("--new-secret")
    assert new != old
    wait_until_known(receiver, new)
    assert receiver.deliver(push()).status_code == 202
    assert receiver.deliver(push(), secret=old).status_code == 202
    wait_until_known(receiver, prefect_server.connect("--new-secret"))
    assert receiver.deliver(push(), secret=new).status_code == 202
    assert receiver.deliver(push(), secret=old).status_code == 401


@contextmanager
def trouble_at_github(github: FakeGitHub, trouble: Trouble | None) -> Iterator[None]:
    github.always = trouble
    try:
        yield
    finally:
        github.always = None


def kept(server: PrefectServer) -> GitHub:
    with temporary_settings({PREFECT_API_URL: stack.api_url(server.home)}):
        return GitHub.load("github")


def test_a_new_secret_that_github_refuses_changes_nothing(prefect_server: PrefectServer) -> None:
    """Nor does a token that merely lay in the environment."""
    prefect_server.connect()
    before = kept(prefect_server).model_dump()
    words = ["github", "connect", "acme/models", "--url", PUBLIC, "--new-secret"]
    assert prefect_server.model_deploy(*words, GITHUB_TOKEN="ghp_nobody_knows").returncode == 3
    assert kept(prefect_server).model_dump() == before


def test_a_new_secret_that_github_never_answers_to_locks_no_other_repository_out(
    prefect_server: PrefectServer,
) -> None:
    """However often the same command is typed: GitHub may have taken the new one, the others have the old."""
    old = prefect_server.connect()
    words = ["github", "connect", "acme/models", "--url", PUBLIC, "--new-secret"]
    for _ in range(2):
        with trouble_at_github(prefect_server.github, Trouble(500)):
            assert prefect_server.model_deploy(*words).returncode == 4
        now = kept(prefect_server)
        assert SecretStr(old) in (now.webhook_secret, now.former_webhook_secret)
    assert prefect_server.connect() == old


def test_a_repository_that_nothing_watches_is_said_to_be_so(prefect_server: PrefectServer) -> None:
    words = ["github", "connect", "acme/other", "--url", PUBLIC]
    done = prefect_server.model_deploy(*words, GITHUB_TOKEN=TOKEN)
    assert done.returncode == 0, done.stderr
    assert "no environment watches acme/other yet; next:" in done.stdout


@pytest.mark.parametrize(
    ("words", "trouble", "code", "said"),
    [
        (["acme", "--url", PUBLIC], None, 2, "this is no repository"),
        (["acme/models", "--url", "http://deploy.example"], None, 2, "over TLS"),
        (["acme/models", "--url", PUBLIC], Trouble(403), 3, "Webhooks: read and write"),
        (["acme/models", "--url", PUBLIC], Trouble(404), 3, "Webhooks: read and write"),
        (["acme/models", "--url", PUBLIC], Trouble(422), 1, "does not take the webhook"),
        (["acme/models", "--url", PUBLIC], Trouble(500), 4, "GitHub does not answer"),
    ],
)
def test_what_goes_wrong_is_told_without_a_traceback(
    prefect_server: PrefectServer, words: list[str], trouble: Trouble | None, code: int, said: str
) -> None:
    with trouble_at_github(prefect_server.github, trouble):
        done = prefect_server.model_deploy("github", "connect", *words)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert TOKEN not in done.stderr


def test_applying_the_same_environments_again_changes_nothing(
    prefect_server: PrefectServer, receiver: Receiver
) -> None:
    done = prefect_server.model_deploy("apply", str(prefect_server.home.path.parent / "environments.yaml"))
    assert done.stdout.splitlines() == ["local: unchanged", "examples: unchanged"]


def test_before_anything_was_applied_there_is_no_environment() -> None:
    """Prefect knows no environments' type then."""
    with (
        serving(lambda _: json_answer({"detail": "not found"}, 404)) as prefect,
        temporary_settings({PREFECT_API_URL: f"{prefect}/api"}),
    ):
        assert not github_commands._is_watched("acme/models")
        assert asyncio.run(setup_of_a_receiver()) == Setup(rules=(), secrets=())


async def setup_of_a_receiver() -> Setup:
    async with get_client() as client:
        return await read_setup(client)
