"""The receiver when Prefect is slow, full, broken or away: real HTTP, a store that does as it is told."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from deployments.webhook.prefect_api import Setup
from deployments.webhook.receiver import REDELIVER, Limits
from deployments.webhook.signature import is_signed, sign
from tests.controllers import wait_until
from tests.deployments.conftest import push, raw_request
from tests.deployments.receiving import (
    SETUP,
    Store,
    chain,
    running,
    sent_while_the_store_is_held_up,
    waiting,
)


@pytest.fixture
def store() -> Store:
    made = Store()
    made.gate.set()
    return made


def test_a_full_queue_says_so_at_once_and_what_was_taken_is_stored(store: Store) -> None:
    store.gate.clear()
    patient = Limits(alone=20, crowd=20, answer=25)
    with running(store, capacity=5, limits=patient) as receiver, ThreadPoolExecutor(40) as senders:
        first = senders.submit(receiver.deliver, push())
        assert store.begun.wait(30)
        rest = [senders.submit(receiver.deliver, push()) for _ in range(20)]
        refused = []
        deadline = time.monotonic() + 15
        while len(refused) < 16 and time.monotonic() < deadline:
            refused = [one for one in rest if one.done()]
        assert len(refused) == 16
        for one in refused:
            answer = one.result()
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
            assert "waiting" in answer.json()["reason"]
        assert receiver.client.get(f"{receiver.url}/healthz").json()["waiting"] == 5
        store.gate.set()
        taken = [one.result() for one in [first, *rest] if one not in refused]
    assert [answer.status_code for answer in taken] == [202] * 5
    assert len(store.stored) == 5
    assert store.most_writing == 1


def test_a_store_that_fails_is_asked_again(store: Store) -> None:
    store.trouble = [ConnectionError("it is gone: password=hunter2")]
    with running(store) as receiver:
        assert len(receiver.deliver(push()).json()["runs"]) == 1
        assert len(receiver.deliver(push()).json()["runs"]) == 1
    assert len(store.stored) == 2


def test_one_refused_run_does_not_spoil_the_others_of_its_batch(store: Store) -> None:
    bad = push()
    store.refuse = lambda order: order.start.ref == bad["after"]
    store.gate.clear()
    with running(store, limits=Limits(alone=1, crowd=1)) as receiver, ThreadPoolExecutor(6) as senders:
        blocker = senders.submit(receiver.deliver, push())
        assert store.begun.wait(30)
        answers = [senders.submit(receiver.deliver, one) for one in (push(), bad, push())]
        wait_until(lambda: waiting(receiver) == 4, 20)
        store.gate.set()
        assert [len(one.result().json()["runs"]) for one in [blocker, *answers]] == [1, 1, 0, 1]


def test_of_pushes_that_wait_on_top_of_each_other_the_last_is_stored(store: Store) -> None:
    """More than are written at once, and in another order than they were pushed."""
    first, *others, last = chain(*"0123456789abcdef")
    with sent_while_the_store_is_held_up(store, [last, *reversed(others), first]) as sent:
        store.gate.set()
        answers = [one.result() for one in sent]
    assert [answer.status_code for answer in answers] == [202] * 15
    assert len({answer.json()["runs"][0]["flow_run"] for answer in answers}) == 1
    assert [order.start.ref for order in store.stored[1:]] == ["f" * 40]
    assert answers[0].json()["reason"] == ""
    for answer in answers[1:]:
        assert answer.json()["reason"] == (
            "a later push came on top of this one; its run releases both: iris in local"
        )


def test_what_proves_no_order_is_stored_each(store: Store) -> None:
    there, back = chain("a", "b"), chain("b", "a", forced=True)
    tag = [push("9" * 40, ref="refs/tags/v1", before="0" * 40)]
    two_heads = [*chain("1", "2"), *chain("1", "3")]
    with sent_while_the_store_is_held_up(store, [*there, *back, *tag, *two_heads]) as sent:
        store.gate.set()
        answers = [one.result() for one in sent]
    assert {order.start.ref[0] for order in store.stored[1:]} == {"b", "a", "9", "2", "3"}
    assert [answer.json()["reason"] for answer in answers] == [""] * 5


@pytest.mark.parametrize(
    ("setup", "reason"), [(None, "Prefect does not answer"), (Setup(SETUP.rules, ()), "no webhook secret")]
)
def test_without_rules_or_secrets_nothing_is_taken(store: Store, setup: Setup | None, reason: str) -> None:
    with running(store, setup) as receiver:
        answer = receiver.deliver(push())
        assert answer.status_code == 503
        assert reason in answer.json()["reason"]
        assert "redeliver" not in answer.json()["reason"], "reconcile starts it"
        check = receiver.deliver({}, "pull_request")
        assert (check.status_code, check.json()["reason"].split("; ")[-1]) == (503, REDELIVER)
        health = receiver.client.get(f"{receiver.url}/healthz")
        assert health.status_code == 503
        assert reason in health.json()["reason"]
    assert store.stored == []


def test_two_secrets_are_accepted_at_once(store: Store) -> None:
    with running(store) as receiver:
        assert receiver.deliver(push(), secret="former").status_code == 202
        assert receiver.deliver(push(), secret="oldest").status_code == 401


def test_a_body_that_never_ends_is_given_up(store: Store) -> None:
    with running(store, limits=Limits(read=0.3)) as receiver:
        headers = {**receiver.headers(b""), "Content-Length": "100"}
        lines = "\r\n".join(f"{name}: {value}" for name, value in {"Host": "x", **headers}.items())
        with socket.create_connection(("127.0.0.1", receiver.port), timeout=5) as connection:
            connection.sendall(f"POST /webhooks/github HTTP/1.1\r\n{lines}\r\n\r\n{{".encode())
            assert b" 408 " in connection.recv(1000)


def test_large_bodies_together_are_bounded(store: Store) -> None:
    with running(store, limits=Limits(held=1000)) as receiver:
        body = b"x" * 1001
        status, _ = raw_request(receiver, {**receiver.headers(body), "Content-Length": "1001"}, body)
        assert status == 503
        assert receiver.deliver(push()).status_code == 202  # what was held is let go
        for _ in range(5):
            assert receiver.deliver(push()).status_code == 202


@pytest.mark.parametrize("signature", ["", "sha256=", "sha1=" + "0" * 40, "sha256=" + "G" * 64, "x" * 71])
@pytest.mark.fault(2)
def test_what_is_no_signature(signature: str) -> None:
    assert not is_signed(b"body", signature, ["secret"])


def test_an_empty_secret_signs_nothing() -> None:
    assert not is_signed(b"body", sign("", b"body"), ["", "secret"])


def test_githubs_own_example_of_a_signature() -> None:
    """From GitHub's documentation on validating deliveries."""
    expected = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert sign("It's a Secret to Everybody", b"Hello, World!") == expected
