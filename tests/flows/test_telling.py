"""People are told, and hooks run, through Prefect's real server, block types and deployments."""

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import replace
from email import message_from_string
from email.policy import default
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from apprise.plugins.slack import NotifySlack
from prefect import flow
from prefect.blocks.notifications import CustomWebhookNotificationBlock, SlackWebhook
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.flow_engine import run_flow
from prefect.states import Pending
from prefect.types import SecretDict
from pydantic import SecretStr

from blocks.email import Email
from blocks.notifications import tell
from flows import admission
from flows.admission import hooks_around
from releases.approval import Proposal
from releases.gate import Finding
from releases.problem import Failed, Refused, Superseded
from releases.rules import Hook, Hooks, Rules
from tests.http_server import Answer, Request, serving

pytestmark = pytest.mark.usefixtures("server")
SUBJECT, BODY = "Failed: release to production: 1 of 2 tests failed", "1 of 2 tests failed\n  got: 0.41"
PROPOSAL = Proposal(
    service="iris",
    environment="production",
    version="v1.2.0",
    revision="a" * 40,
    image="",
    content="a" * 40,
    model=None,
    live=None,
)


@flow
def telling(*blocks: str) -> None:
    tell(blocks, SUBJECT, BODY)


@contextmanager
def web() -> Iterator[tuple[str, list[tuple[str, dict[str, Any]]]]]:
    came: list[tuple[str, dict[str, Any]]] = []

    def keep(request: Request) -> Answer:
        came.append((request.path, json.loads(request.body)))
        return Answer(b"ok")

    with serving(keep) as address:
        yield address, came


@contextmanager
def post() -> Iterator[tuple[int, list[str]]]:
    """As much of RFC 5321 as a client needs to leave a mail."""
    came: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        def say(self, line: str) -> None:
            self.wfile.write(f"{line}\r\n".encode())

        def handle(self) -> None:
            self.say("220 test")
            for line in self.rfile:
                word = line.decode().strip().upper()
                if word == "DATA":
                    self.say("354 go on")
                    lines = iter(lambda: self.rfile.readline().decode(), ".\r\n")
                    came.append("".join(lines))
                    self.say("250 taken")
                elif word == "QUIT":
                    self.say("221 bye")
                    return
                else:
                    self.say("250 fine")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1], came
        server.shutdown()


def test_slack_and_mail_are_told_and_one_that_fails_keeps_nothing_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with web() as (address, posted), post() as (port, mails):
        monkeypatch.setattr(NotifySlack, "webhook_url", f"{address}/services")
        SlackWebhook(
            url=SecretStr("https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ")
        ).save("releases", overwrite=True)
        Email(
            host="127.0.0.1",
            port=port,
            security="none",
            sender="deploys@acme.com",
            to=["ann@acme.com", "bob@acme.com"],
        ).save("releases", overwrite=True)
        telling("slack-webhook/none", "slack-webhook/releases", "e-mail/releases")
    ((path, message),) = posted
    assert path == "/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
    assert SUBJECT in json.dumps(message)
    assert "0.41" in json.dumps(message)
    mail = [message_from_string(text, policy=default) for text in mails]
    assert {str(one["To"]) for one in mail} == {"ann@acme.com", "bob@acme.com"}
    assert {str(one["Subject"]) for one in mail} == {SUBJECT}
    assert {"deploys@acme.com" in str(one["From"]) for one in mail} == {True}
    body = mail[0].get_body(("plain",))
    assert body is not None
    assert "got: 0.41" in body.get_content()


def test_a_webhook_that_refuses_is_named_without_its_address(caplog: pytest.LogCaptureFixture) -> None:
    with serving(lambda _: Answer(b"no", status=404)) as address:
        CustomWebhookNotificationBlock(
            name="telegram", url=address + "/bot{{token}}/send", secrets=SecretDict({"token": "123:SECRET"})
        ).save("telegram", overwrite=True)
        telling("custom-webhook/telegram")
    assert "custom-webhook/telegram could not be told: HTTP 404" in caplog.text
    assert "SECRET" not in caplog.text


@flow
def ends(rules: Any, error: BaseException) -> None:
    with admission.telling(SimpleNamespace(rules=rules), "release to production"):  # type: ignore[arg-type]
        raise error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Failed("release 3 was taken back: too slow\n  more"), "release 3 was taken back: too slow"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
        (Superseded("a newer one"), ""),
    ],
)
def test_what_fails_or_is_taken_back_reaches_people_whatever_it_was(error: Exception, said: str) -> None:
    with web() as (address, posted):
        CustomWebhookNotificationBlock(
            name="told", url=address, method="POST", json_data={"subject": "{{subject}}"}
        ).save("told", overwrite=True)
        with pytest.raises(type(error)):
            ends(Rules(notify=("custom-webhook/told",)), error)
    assert [one["subject"] for _, one in posted] == (
        [f"Failed: release to production: {said}"] if said else []
    )


@flow
def asks_to_be_let_in(proposal: Any) -> None:
    admission.admit(SimpleNamespace(rules=Rules(), name="production"), proposal)  # type: ignore[arg-type]


def test_a_gate_that_does_not_hold_refuses_the_release() -> None:
    finding = Finding("metrics.accuracy >= live - 0.01", holds=False, said="0.80 >= 0.93 - 0.01")
    with pytest.raises(Refused, match=r"iris v1\.2\.0 to production does not pass a gate") as refused:
        asks_to_be_let_in(replace(PROPOSAL, findings=(finding,)))
    assert (refused.value.expected, refused.value.got) == (finding.gate, finding.said)


@flow
def note(event: dict[str, str]) -> None:
    events.append(event)
    if event["version"] == "v0":
        raise ValueError("not this one")


events: list[dict[str, str]] = []


@flow
def deploying(rules: Any, version: str = "v1.2.0") -> None:
    with hooks_around(
        SimpleNamespace(rules=rules), PROPOSAL.__class__(**{**vars(PROPOSAL), "version": version})
    ):  # type: ignore[arg-type]
        events.append({"event": "deploy"})


@contextmanager
def worker(deployment: UUID) -> Iterator[None]:
    """Runs what is scheduled of the deployment."""
    over = threading.Event()
    due = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))

    def work() -> None:
        with get_client(sync_client=True) as client:
            while not over.wait(0.1):
                for run in client.read_flow_runs(
                    flow_run_filter=FlowRunFilter(state=due),
                    deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment])),
                ):
                    client.set_flow_run_state(run.id, Pending())
                    run_flow(note, flow_run=run, parameters=run.parameters, return_type="state")

    thread = threading.Thread(target=copy_context().run, args=(work,))  # with this server in its settings
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.fixture(scope="module")
def deployment(server: None) -> UUID:
    with get_client(sync_client=True) as client:
        return client.create_deployment(client.create_flow(note), "here", enforce_parameter_schema=False)


def test_a_deployment_runs_before_and_after_a_deploy(deployment: UUID) -> None:
    events.clear()
    hook = Hook(deployment="note/here", timeout=60)
    rules = Rules(hooks=Hooks(before=(hook,), after=(hook,)))
    with worker(deployment):
        deploying(rules)
    assert [one["event"] for one in events] == ["before", "deploy", "after"]
    assert events[0] == {
        "event": "before",
        "service": "iris",
        "environment": "production",
        "version": "v1.2.0",
        "revision": "a" * 40,
        "model": "",
    }
    assert events[2]["outcome"] == "confirmed"


def test_one_that_fails_or_does_not_run_in_time_refuses_the_release(deployment: UUID) -> None:
    events.clear()
    hook = Hook(deployment="note/here", timeout=60)
    with worker(deployment), pytest.raises(Refused, match="the hook deployment note/here failed") as refused:
        deploying(Rules(hooks=Hooks(before=(hook,))), version="v0")
    assert refused.value.got.endswith("Failed")
    assert [one["event"] for one in events] == ["before"]

    late = Hook(deployment="note/here", timeout=1)
    with pytest.raises(Refused, match="note/here failed") as refused:
        deploying(Rules(hooks=Hooks(before=(late,))))
    assert refused.value.expected == "a run that completes within 1 s"
    with worker(deployment):
        with get_client(sync_client=True) as client:
            runs = client.read_flow_runs(
                deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment]))
            )
        assert {run.state.type for run in runs if run.state} <= {
            StateType.COMPLETED,
            StateType.FAILED,
            StateType.CANCELLED,
        }, "what came too late must not run later"
    with pytest.raises(Refused, match="note/nowhere failed"):
        deploying(Rules(hooks=Hooks(before=(Hook(deployment="note/nowhere"),))))


@pytest.mark.parametrize(("security", "port"), [("starttls", 587), ("tls", 465), ("none", 25)])
def test_a_mail_server_is_called_as_described_whatever_is_in_the_password(security: Any, port: int) -> None:
    made = Email(
        host="smtp.acme.com",
        port=port,
        security=security,
        username="ann@acme.com",
        password=SecretStr("p@ss/w:rd?"),
        sender="deploys@acme.com",
        to=["bob@acme.com"],
    )
    server: Any = made._apprise_client.servers[0]
    assert (server.smtp_host, server.port, server.user) == ("smtp.acme.com", port, "ann@acme.com")
    assert server.password == "p@ss/w:rd?"
    assert server.secure_mode == {"starttls": "starttls", "tls": "ssl", "none": "insecure"}[security]
