"""The GitHub block against a small GitHub over real HTTP."""

import time
from collections.abc import Callable, Iterator

import pytest
from pydantic import SecretStr

from blocks.github import GitHub
from deployments.machine.home import free_ports
from tests.github.server import TOKEN, FakeGitHub, Trouble, running

SHA, NEXT = "a" * 40, "b" * 40
REPO = "acme/models"
CALLS: list[Callable[[GitHub], object]] = [
    lambda github: github.set_status(REPO, SHA, "success", context="model-deploy"),
    lambda github: github.open_deployment(REPO, SHA, "production", production=True),
    lambda github: github.set_deployment(REPO, 1, "success"),
    lambda github: github.commits(REPO, SHA, NEXT),
    lambda github: github.publish(REPO, "v1", SHA, "notes").ok,
    lambda github: github.save_hook(REPO, "https://x.example", "s").ok,
]


@pytest.fixture
def fake() -> Iterator[FakeGitHub]:
    with running() as github:
        yield github


def block(fake: FakeGitHub, patience: float = 5, token: str = TOKEN) -> GitHub:
    return GitHub(token=SecretStr(token), api=fake.address, patience=patience)


def test_a_release_is_shown_beside_its_commit_and_as_a_deployment(fake: FakeGitHub) -> None:
    github = block(fake)
    assert github.set_status(
        REPO, SHA, "failure", context="model-deploy/production", description="x" * 500, link="https://ui/1"
    )
    ((commit, status),) = fake.statuses
    assert (commit, status["state"], status["target_url"]) == (SHA, "failure", "https://ui/1")
    number = github.open_deployment(REPO, SHA, "production", production=True)
    assert number == 1
    assert fake.deployments[0]["required_contexts"] == []
    assert github.set_deployment(REPO, number, "success", url="https://iris.acme.com", link="https://ui/1")
    assert fake.deployment_statuses[0][1]["environment_url"] == "https://iris.acme.com"


def test_commits_between_two_releases_newest_first(fake: FakeGitHub) -> None:
    fake.history = [(SHA, "one"), ("c" * 40, "two\n\nlong"), (NEXT, "three")]
    github = block(fake)
    told = github.commits(REPO, SHA, NEXT)
    assert list((told or {}).items()) == [(NEXT, "three"), ("c" * 40, "two\n\nlong")]
    assert github.commits(REPO, SHA, "f" * 40) is None


def test_a_hook_is_made_once_and_then_changed(fake: FakeGitHub) -> None:
    github = block(fake)
    for secret in ("one", "two"):
        assert github.save_hook(REPO, "https://x.example/webhooks/github", secret).ok
    (hook,) = fake.hooks
    assert hook["config"]["secret"] == "two"
    assert hook["events"] == ["push", "pull_request"]
    assert hook["config"]["content_type"] == "json"


@pytest.mark.parametrize("trouble", [Trouble(500), Trouble(502), Trouble(503), Trouble(0)])
def test_what_may_pass_is_tried_again(fake: FakeGitHub, trouble: Trouble) -> None:
    fake.trouble.extend([trouble, trouble])
    assert block(fake).set_status(REPO, SHA, "pending", context="model-deploy")
    assert len(fake.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_refusal_is_not_asked_again(fake: FakeGitHub, status: int) -> None:
    fake.always = Trouble(status)
    assert not block(fake).set_status(REPO, SHA, "pending", context="model-deploy")
    assert len(fake.requests) == 1


@pytest.mark.parametrize("status", [403, 429])
def test_a_short_rate_limit_is_waited_for(fake: FakeGitHub, status: int) -> None:
    fake.trouble.append(Trouble(status, (("Retry-After", "1"),)))
    started = time.monotonic()
    assert block(fake).set_status(REPO, SHA, "pending", context="model-deploy")
    assert time.monotonic() - started >= 1
    assert len(fake.requests) == 2


@pytest.mark.parametrize(
    "headers",
    [
        (("Retry-After", "3000"),),
        (("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", str(int(time.time()) + 3000))),
    ],
)
def test_a_long_rate_limit_ends_the_asking_for_everybody(
    fake: FakeGitHub, headers: tuple[tuple[str, str], ...]
) -> None:
    fake.always = Trouble(403, headers)
    github, started = block(fake), time.monotonic()
    for call in CALLS:
        assert not call(github)
    assert time.monotonic() - started < 2
    assert len(fake.requests) == 1


@pytest.mark.parametrize("call", CALLS)
def test_a_github_that_is_down_never_raises_and_never_takes_long(call: Callable[[GitHub], object]) -> None:
    nobody = GitHub(token=SecretStr("t"), api=f"http://127.0.0.1:{free_ports(1)[0]}", patience=0.6)
    started = time.monotonic()
    assert not call(nobody)
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("call", CALLS)
def test_an_answer_that_makes_no_sense_never_raises(
    fake: FakeGitHub, call: Callable[[GitHub], object]
) -> None:
    fake.always = Trouble(200, message="not what was asked for")
    call(block(fake, patience=0.6))


def test_the_token_is_shown_nowhere(fake: FakeGitHub, caplog: pytest.LogCaptureFixture) -> None:
    github = block(fake, token="ghp_very_secret")
    assert not github.set_status(REPO, SHA, "pending", context="model-deploy")
    assert "Bad credentials" in caplog.text
    assert "ghp_very_secret" not in caplog.text + repr(github)
