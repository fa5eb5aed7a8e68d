"""`model-deploy github connect` against a small GitHub and a real Prefect server."""

import time

import pytest

from tests.deployments.conftest import PUBLIC, PrefectServer, Receiver, push
from tests.github.server import TOKEN, Trouble


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
    prefect_server.github.always = trouble
    try:
        done = prefect_server.model_deploy("github", "connect", *words)
    finally:
        prefect_server.github.always = None
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert TOKEN not in done.stderr


def test_applying_the_same_environments_again_changes_nothing(
    prefect_server: PrefectServer, receiver: Receiver
) -> None:
    done = prefect_server.model_deploy("apply", str(prefect_server.home.path.parent / "environments.yaml"))
    assert done.stdout.splitlines() == ["local: unchanged", "examples: unchanged"]
