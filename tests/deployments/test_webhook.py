"""The receiver as a process, in front of a real Prefect server."""

import json
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.controllers import wait_until
from tests.deployments.conftest import (
    PrefectServer,
    Receiver,
    delivery_id,
    listening,
    push,
    raw_request,
)
from tests.deployments.receiving import waiting

ZERO = "0" * 40
MAX = 25 * 2**20


def started(answer: httpx.Response) -> list[str]:
    return [run["flow_run"] for run in answer.json()["runs"]]


def test_a_push_becomes_a_run_of_its_commit(receiver: Receiver, prefect_server: PrefectServer) -> None:
    pushed = push(files=("shared/x.py",))
    answer = receiver.deliver(pushed)
    assert answer.status_code == 202
    (said,) = answer.json()["runs"]
    assert (said["service"], said["environment"]) == ("rose", "local")
    (run,) = [run for run in prefect_server.runs("service:rose") if run["id"] == said["flow_run"]]
    assert run["parameters"] == {
        "source": "https://github.com/acme/models.git",
        "ref": pushed["after"],
        "path": "rose",
        "environment": "local",
        "branch": "main",
    }
    assert {"service:rose", "environment:local", "branch:main"} <= set(run["tags"])
    assert run["state"]["type"] == "SCHEDULED"


def test_two_services_of_one_push_are_two_runs(receiver: Receiver) -> None:
    answer = receiver.deliver(push(files=("iris/a", "rose/b")))
    assert answer.status_code == 202
    assert len(set(started(answer))) == 2


def test_githubs_own_examples(
    receiver: Receiver, prefect_server: PrefectServer, examples: list[tuple[str, dict[str, Any]]]
) -> None:
    """All are answered; those that push to a branch of the watched repository start a run each."""
    assert len(examples) > 300
    before = len(prefect_server.runs("service:hello-world"))
    for event, payload in examples:
        answer = receiver.deliver(payload, event)
        acts = "codertocat/hello-world" in json.dumps(payload).lower() and (
            (event == "push" and payload["ref"] == "refs/heads/master")
            or (
                event == "pull_request"
                and payload["action"] in {"opened", "synchronize", "reopened"}
                and payload["pull_request"]["base"]["ref"] == "master"
            )
        )
        assert answer.status_code == (202 if acts else 200), (event, answer.text)
        expected = "accepted" if acts else "pong" if event == "ping" else "ignored"
        assert answer.json()["status"] == expected
        assert bool(answer.json()["reason"]) == (expected == "ignored")
    pushes = [payload for event, payload in examples if event == "push"]
    commits = {one["after"] for one in pushes if one["ref"] == "refs/heads/master"}
    assert commits, "the examples have changed: none pushes to a branch"
    runs = prefect_server.runs("service:hello-world")
    assert {run["parameters"]["ref"] for run in runs} == commits
    assert len(runs) - before <= len([one for one in pushes if one["ref"] == "refs/heads/master"])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ref": "refs/heads/main", "after": ZERO, "deleted": True}, "was deleted"),
        ({"ref": "refs/tags/v1"}, "no environment releases the tag v1"),
        ({"ref": "refs/heads/feature"}, "no environment releases from"),
        ({"commits": [{"modified": ["README.md"]}]}, "touches no file"),
        ({"repository": {"full_name": "evil/models"}}, "watches nothing in evil/models"),
    ],
)
@pytest.mark.fault(3)
def test_a_push_that_starts_nothing_says_why(
    receiver: Receiver, changes: dict[str, Any], reason: str
) -> None:
    answer = receiver.deliver(push(**changes))
    assert answer.status_code == 200
    assert answer.json()["status"] == "ignored"
    assert reason in answer.json()["reason"]


def test_a_forced_push_starts_everything_on_its_branch(receiver: Receiver) -> None:
    assert len(started(receiver.deliver(push(files=("README.md",), forced=True)))) == 2


def pull(action: str = "opened", base: str = "main", head: str = "acme/models") -> dict[str, Any]:
    sides = {
        "head": {"ref": "feature", "sha": delivery_id()[5:] * 2 + "0" * 8, "repo": {"full_name": head}},
        "base": {"ref": base, "sha": "b" * 40},
    }
    return {
        "action": action,
        "number": 7,
        "pull_request": sides,
        "repository": {"full_name": "acme/models"},
    }


@pytest.mark.parametrize("head", ["acme/models", "stranger/models"])
def test_a_pull_request_becomes_a_check_from_the_repository_that_we_know(
    receiver: Receiver, prefect_server: PrefectServer, head: str
) -> None:
    opened = pull(head=head)
    answer = receiver.deliver(opened, "pull_request")
    assert answer.status_code == 202, answer.text
    assert {run["service"] for run in answer.json()["runs"]} == {"iris", "rose"}
    again = receiver.deliver({**opened, "action": "reopened"}, "pull_request")
    assert started(again) == started(answer), "a commit is checked once"
    for identity in started(answer):
        (run,) = [one for one in prefect_server.runs("pull-request:acme/models#7") if one["id"] == identity]
        assert run["parameters"]["source"] == "https://github.com/acme/models.git"
        assert run["parameters"]["ref"] == opened["pull_request"]["head"]["sha"]


@pytest.mark.parametrize(
    ("payload", "event", "reason"),
    [
        (pull("closed"), "pull_request", "was closed; only new commits are checked"),
        (pull(base="other"), "pull_request", "no environment releases from the branch other"),
        ({"action": "published"}, "release", "its tag comes as a push"),
        ({"ref": "v1", "ref_type": "tag"}, "create", "comes as a push"),
        ({}, "issues", "the event issues starts nothing"),
    ],
)
def test_what_starts_nothing_says_why(
    receiver: Receiver, payload: dict[str, Any], event: str, reason: str
) -> None:
    answer = receiver.deliver(payload, event)
    assert (answer.status_code, answer.json()["status"]) == (200, "ignored")
    assert reason in answer.json()["reason"]


BODY = json.dumps(push()).encode()


@pytest.mark.parametrize(
    ("payload", "headers", "status"),
    [
        pytest.param(BODY, {"X_Hub_Signature_256": None}, 401, id="no signature"),
        pytest.param(BODY, {"X_Hub_Signature_256": ""}, 401, id="empty signature"),
        pytest.param(BODY, {"X_Hub_Signature_256": "sha256=" + "0" * 64}, 401, id="forged"),
        pytest.param(BODY, {"X_Hub_Signature_256": b"sha256=\xe9"}, 401, id="not ASCII"),
        pytest.param(
            BODY, {"X_Hub_Signature_256": None, "X_Hub_Signature": "sha1=" + "0" * 40}, 401, id="SHA-1"
        ),
        pytest.param(BODY, {"secret": "another"}, 401, id="another secret"),
        pytest.param(b"not json", {}, 400, id="not JSON"),
        pytest.param(b"", {}, 400, id="empty"),
        pytest.param(BODY[:-20], {}, 400, id="cut before it was signed"),
        pytest.param(b"[" * 1_000_000, {}, 400, id="deeper than deep"),
        pytest.param(b'"\\ud800"', {}, 400, id="half a character"),
        pytest.param(b"\xff\xfe", {}, 400, id="not UTF-8"),
        pytest.param(b"[]", {}, 422, id="no object"),
        pytest.param({}, {}, 422, id="no push"),
        pytest.param(push(after="HEAD; rm -rf /"), {}, 422, id="no commit"),
        pytest.param(push(commits="many"), {}, 422, id="no commits"),
        pytest.param({"action": "opened"}, {}, 422, id="another event's payload"),
        pytest.param(BODY, {"Content_Type": "application/x-www-form-urlencoded"}, 415, id="form"),
        pytest.param(BODY, {"Content_Type": None}, 415, id="no content type"),
        pytest.param(BODY, {"X_GitHub_Event": None}, 400, id="no event"),
        pytest.param(BODY, {"X_GitHub_Event": "Push!"}, 400, id="no event's name"),
        pytest.param(BODY, {"X_GitHub_Delivery": None}, 400, id="no delivery"),
        pytest.param(BODY, {"X_GitHub_Delivery": "x" * 65}, 400, id="long delivery"),
        pytest.param(b"x" * (MAX + 1), {}, 413, id="too large"),
    ],
)
@pytest.mark.fault(2)
def test_what_is_wrong_starts_nothing(
    receiver: Receiver, prefect_server: PrefectServer, payload: Any, headers: dict[str, Any], status: int
) -> None:
    before = len(prefect_server.runs())
    lowered = {name if name == "secret" else name.lower(): value for name, value in headers.items()}
    try:
        answer = receiver.deliver(payload, **lowered)
    except httpx.WriteError:  # it answered and hung up before all was sent
        assert status == 413
    else:
        assert answer.status_code == status, answer.text
        assert answer.json()["status"] == "refused"
        assert answer.json()["reason"]
    assert len(prefect_server.runs()) == before


def test_the_largest_that_github_sends_is_taken(receiver: Receiver) -> None:
    padded = BODY[:-1] + b', "x": "' + b"x" * (MAX - len(BODY) - 9) + b'"}'
    assert len(padded) <= MAX
    assert receiver.deliver(padded).status_code == 202


def test_a_body_that_is_larger_than_it_said_or_said_nothing_is_cut_off(
    receiver: Receiver, prefect_server: PrefectServer
) -> None:
    before = len(prefect_server.runs())
    headers = receiver.headers(BODY)
    chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    status, _ = raw_request(receiver, {**headers, "Transfer-Encoding": "chunked"}, *[chunk] * 40)
    assert status in {413, 0}  # 0: our system threw the answer away, as we were still sending
    status, _ = raw_request(receiver, {**headers, "Content-Length": str(2**40)}, b"x")
    assert status == 413
    # Cut on the way: fewer bytes than announced.
    status, _ = raw_request(receiver, {**headers, "Content-Length": str(len(BODY))}, BODY[:-5])
    assert status in {400, 0}
    assert len(prefect_server.runs()) == before
    assert receiver.deliver(push()).status_code == 202


@pytest.mark.fault(1)
def test_the_same_delivery_again_is_the_same_run(receiver: Receiver, prefect_server: PrefectServer) -> None:
    pushed, delivery = push(), delivery_id()
    with ThreadPoolExecutor(5) as senders:
        answers = list(senders.map(lambda _: receiver.deliver(pushed, delivery=delivery), range(5)))
    answers.append(receiver.deliver(pushed, delivery=delivery))
    assert [answer.status_code for answer in answers] == [202] * 6, answers[-1].text
    assert len({run for answer in answers for run in started(answer)}) == 1
    assert len(prefect_server.runs(f"delivery:{delivery}")) == 1


def test_a_recorded_delivery_under_another_id_starts_nothing(
    receiver: Receiver, prefect_server: PrefectServer
) -> None:
    pushed = push()
    first = receiver.deliver(pushed)
    before = len(prefect_server.runs())
    assert started(receiver.deliver(pushed)) == started(first)
    assert len(prefect_server.runs()) == before


def test_twenty_pushes_at_once_are_twenty_runs(receiver: Receiver, prefect_server: PrefectServer) -> None:
    pushes = [push() for _ in range(20)]
    with ThreadPoolExecutor(20) as senders:
        answers = list(senders.map(receiver.deliver, pushes))
    assert [answer.status_code for answer in answers] == [202] * 20
    wait_until(lambda: waiting(receiver) == 0, 60)
    stored = {run["id"]: run["parameters"]["ref"] for run in prefect_server.runs("service:iris")}
    for answer, pushed in zip(answers, pushes, strict=True):
        assert list(stored.values()).count(pushed["after"]) == 1
        assert [stored[run] for run in started(answer)] in ([], [pushed["after"]])


@pytest.mark.fault(6)
def test_a_run_that_was_promised_is_there_though_the_receiver_is_killed(
    prefect_server: PrefectServer, receiver: Receiver, tmp_path: Path
) -> None:
    with listening(prefect_server, receiver.secret, tmp_path / "log") as other:
        answer = other.deliver(push())
        assert other.process is not None
        other.process.send_signal(signal.SIGKILL)
    assert answer.status_code == 202
    assert started(answer)[0] in {run["id"] for run in prefect_server.runs("service:iris")}


def test_the_log_says_what_was_done_and_no_secret(receiver: Receiver) -> None:
    delivery = delivery_id()
    receiver.deliver(push(head_commit={"message": "my password is hunter2"}), delivery=delivery)
    receiver.deliver(push(), delivery=f"{delivery}-forged", secret="wrong")
    assert receiver.log is not None
    text = receiver.log.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    accepted, forged = [line for line in lines if line.get("delivery", "").startswith(delivery)]
    assert accepted["http"] == 202
    assert accepted["repository"] == "acme/models"
    assert accepted["runs"]
    assert forged["http"] == 401
    assert "repository" not in forged
    for secret in (receiver.secret, "hunter2", "sha256="):
        assert secret not in text


def test_health(receiver: Receiver) -> None:
    answer = receiver.client.get(f"{receiver.url}/healthz")
    assert answer.status_code == 200
    assert answer.json() == {"ready": True, "reason": "", "waiting": 0}
