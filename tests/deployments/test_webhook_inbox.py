"""What was taken and is not yet in Prefect: kept on disk, asked for again, given up last."""

import asyncio
import json
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from deployments.webhook import log, queue
from deployments.webhook.inbox import Inbox, Kept, NotKept
from deployments.webhook.order import Order
from deployments.webhook.receiver import Limits
from releases.pull_request import Check
from releases.trigger import Start
from tests.controllers import wait_until
from tests.deployments.conftest import push
from tests.deployments.receiving import Store, chain, running, sent_while_the_store_is_held_up, waiting

HURRIED = Limits(alone=0.2, crowd=0.2)
KEPT = "kept on disk until Prefect has stored the run: iris in local"
START = Start("iris", "local", "https://github.com/acme/models.git", "a" * 40, "", "main", unsure=True)
CHECK = Check("iris", "local", "https://github.com/acme/models.git", "b" * 40, "", "acme/models", 7)


@pytest.fixture
def store() -> Store:
    made = Store()
    made.gate.set()
    return made


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    return tmp_path / "home" / "webhook" / "inbox.db"


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    written: list[dict[str, object]] = []
    monkeypatch.setattr(log.LOGGER, "info", lambda line: written.append(json.loads(line)))
    return written


def test_a_delivery_is_taken_while_prefect_is_slow_and_its_run_is_told_in_the_log(
    store: Store, lines: list[dict[str, object]]
) -> None:
    store.gate.clear()
    with running(store, limits=HURRIED) as receiver:
        answer = receiver.deliver(push("c" * 40), delivery="slow")
        assert (answer.status_code, answer.json()["runs"], answer.json()["reason"]) == (202, [], KEPT)
        store.gate.set()
        wait_until(lambda: lines and lines[-1]["status"] == "stored", 20)
    assert [order.start.ref for order in store.stored] == ["c" * 40]
    assert lines[-1]["delivery"] == "slow"
    assert len(lines[-1]["runs"]) == 1  # type: ignore[arg-type]


def test_what_prefect_does_not_take_is_stored_by_the_next_receiver_once(store: Store, inbox: Path) -> None:
    """The second receiver reads only what the first has left on disk."""
    store.refuse = lambda _: True
    pushes = [push() for _ in range(5)]
    with running(store, limits=HURRIED, inbox=inbox) as receiver:
        assert {receiver.deliver(one).status_code for one in pushes} == {202}
    assert store.stored == []
    store.refuse = lambda _: False
    for _ in range(2):
        with running(store, inbox=inbox) as receiver:
            wait_until(lambda: waiting(receiver) == 0, 20)
            assert receiver.deliver(push()).json()["runs"]
    refs = [order.start.ref for order in store.stored]
    assert sorted(refs[:5]) == sorted(one["after"] for one in pushes)
    assert len(refs) == 7


def test_a_later_push_that_was_answered_already_still_covers_the_earlier(store: Store) -> None:
    store.gate.clear()
    earlier, later = chain("a", "b", "c")
    with running(store, limits=HURRIED) as receiver:
        assert receiver.deliver(push()).status_code == 202
        assert store.begun.wait(30)
        assert receiver.deliver(later).status_code == 202
        assert receiver.deliver(earlier).status_code == 202
        store.gate.set()
        wait_until(lambda: waiting(receiver) == 0, 20)
        assert receiver.deliver(push()).json()["runs"]
    assert [order.start.ref for order in store.stored[1:-1]] == ["c" * 40]


def test_a_refused_run_waits_with_all_that_it_would_release(store: Store) -> None:
    refusals = iter([True, True])
    store.refuse = lambda order: order.start.ref == "c" * 40 and next(refusals, False)
    with sent_while_the_store_is_held_up(store, chain("a", "b", "c")) as sent:
        store.gate.set()
        answers = [one.result() for one in sent]
    assert len({answer.json()["runs"][0]["flow_run"] for answer in answers}) == 1
    assert [order.start.ref for order in store.stored[1:]] == ["c" * 40]


def test_what_is_refused_for_a_day_is_given_up_and_said(
    store: Store, inbox: Path, lines: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "KEEP_SECONDS", 1.0)
    store.refuse = lambda _: True
    with running(store, limits=HURRIED, inbox=inbox) as receiver:
        assert receiver.deliver(push(), delivery="poison").status_code == 202
        refused = [line for line in lines if line["status"] == "refused"]  # said once it was answered
        assert [line["reason"] for line in refused] == ["Prefect refuses the run"]
        wait_until(lambda: waiting(receiver) == 0, 20)
        wait_until(lambda: lines[-1]["status"] == "given up", 20)
    assert (lines[-1]["delivery"], lines[-1]["reason"]) == ("poison", "Prefect refuses the run")
    assert asyncio.run(Inbox(inbox).read()) == []


def test_a_disk_that_takes_nothing_is_a_503(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    with running(store, inbox=tmp_path / "a file" / "inbox.db") as receiver:
        answer = receiver.deliver(push())
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
        assert answer.json()["reason"].startswith("the delivery cannot be kept: ")
    assert store.stored == []


def test_what_is_kept_is_what_was_ordered_and_is_there_for_another_process(inbox: Path) -> None:
    orders = [Order(START, "one", "9" * 40), Order(CHECK, "two")]
    before = time.time()

    async def keep() -> list[int]:
        mine = Inbox(inbox)
        many = await asyncio.gather(*(mine.keep([Order(START, str(number))]) for number in range(50)))
        await mine.forget([kept.number for each in many for kept in each])
        return [kept.number for kept in await mine.keep(orders)]

    numbers = asyncio.run(keep())
    left = asyncio.run(Inbox(inbox).read())
    assert [kept.order for kept in left] == orders
    assert [kept.number for kept in left] == numbers
    assert all(before <= kept.at <= time.time() for kept in left)


def test_a_line_of_another_version_is_skipped(inbox: Path) -> None:
    async def keep() -> None:
        await Inbox(inbox).keep([Order(START, "one")])

    asyncio.run(keep())
    with closing(sqlite3.connect(inbox)) as database, database:
        database.execute("INSERT INTO orders (at, said) VALUES (1, '{}')")
    assert [kept.order.delivery for kept in asyncio.run(Inbox(inbox).read())] == ["one"]


def test_nobody_who_was_refused_by_the_disk_is_told_yes(inbox: Path) -> None:
    """All of one transaction: the first to come and those that came while it waited."""
    inbox.mkdir(parents=True)

    async def keep() -> list[object]:
        mine = Inbox(inbox)
        asked = (mine.keep([Order(START, str(number))]) for number in range(20))
        return list(await asyncio.gather(*asked, return_exceptions=True))

    assert {type(one) for one in asyncio.run(keep())} == {NotKept}


def test_a_spoilt_file_is_set_aside_and_keeps_nothing_out(store: Store, inbox: Path) -> None:
    inbox.parent.mkdir(parents=True)
    inbox.write_text("no database at all, and longer than a header of a hundred bytes" * 9)
    with running(store, inbox=inbox) as receiver:
        wait_until(lambda: any("spoilt" in file.name for file in inbox.parent.iterdir()), 20)
        assert receiver.deliver(push()).json()["runs"]
    assert inbox.stat().st_mode & 0o077 == 0


def test_what_waits_when_the_file_is_spoilt_pushes_no_later_delivery_out(store: Store, inbox: Path) -> None:
    store.gate.clear()
    store.refuse = lambda order: order.delivery == "second"
    with running(store, limits=HURRIED, inbox=inbox) as receiver:
        assert receiver.deliver(push(), delivery="first").status_code == 202
        assert store.begun.wait(30)
        spoil(inbox)
        wait_until(lambda: receiver.deliver(push(), delivery="second").status_code == 202, 20)
        assert list(inbox.parent.glob("*.spoilt-*")), "the second one is in a fresh file"
        store.gate.set()
        wait_until(lambda: waiting(receiver) == 1, 20)
        assert [order.delivery for order in store.stored] == ["first"]
        assert [kept.order.delivery for kept in asyncio.run(Inbox(inbox).read())] == ["second"]
        store.refuse = lambda _: False
        wait_until(lambda: waiting(receiver) == 0, 20)
    assert [order.delivery for order in store.stored] == ["first", "second"]


def spoil(inbox: Path) -> None:
    """What was a table is none any more, as after a disk's error."""
    with closing(sqlite3.connect(inbox)) as database, database:
        database.execute("PRAGMA writable_schema = ON")
        database.execute("UPDATE sqlite_master SET sql = 'spoilt' WHERE name = 'orders'")
        database.execute("PRAGMA schema_version = 1000")


def test_what_comes_while_the_disk_does_not_give_back_what_was_left_is_asked_for_once(
    store: Store, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals, read = iter([True]), Inbox._read
    asked = threading.Event()

    def slowly(self: Inbox) -> list[Kept]:
        if next(refusals, False):
            asked.set()
            raise NotKept("not now")
        return read(self)

    monkeypatch.setattr(Inbox, "_read", slowly)
    with running(store, limits=HURRIED, inbox=inbox) as receiver:
        assert asked.wait(20)
        assert receiver.deliver(push()).status_code == 202
        wait_until(lambda: waiting(receiver) == 0, 20)
        assert len(store.stored) == 1


def test_a_disk_that_is_full_for_a_while_ends_nothing(
    store: Store, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is stored and not forgotten is forgotten later, and the queue goes on."""
    full = [True]
    delete = Inbox._delete

    def forget(self: Inbox, numbers: list[tuple[int]]) -> None:
        if full[0]:
            raise NotKept("disk full")
        delete(self, numbers)

    monkeypatch.setattr(Inbox, "_delete", forget)
    with running(store, inbox=inbox) as receiver:
        assert receiver.deliver(push()).json()["runs"]
        full[0] = False
        assert receiver.deliver(push()).json()["runs"]
        wait_until(lambda: asyncio.run(Inbox(inbox).read()) == [], 20)
    assert len(store.stored) == 2


def test_one_that_prefect_refuses_once_is_stored_without_another_delivery(store: Store) -> None:
    refusals = iter([True])
    bad = push()
    store.refuse = lambda order: order.start.ref == bad["after"] and next(refusals, False)
    with sent_while_the_store_is_held_up(store, [bad, push()]) as sent:
        store.gate.set()
        assert [len(one.result().json()["runs"]) for one in sent] == [1, 1]


def test_what_prefect_refuses_keeps_no_other_out(store: Store) -> None:
    """As many as are written at once, and more than make a crowd."""
    store.refuse = lambda order: order.delivery.startswith("bad")
    with running(store, limits=Limits(alone=5, crowd=0.1)) as receiver:
        with ThreadPoolExecutor(15) as senders:
            sent = [senders.submit(receiver.deliver, push(), delivery=f"bad-{n}") for n in range(15)]
            assert {one.result().status_code for one in sent} == {202}
        started = time.monotonic()
        assert receiver.deliver(push()).json()["runs"]
        assert time.monotonic() - started < 4
        assert waiting(receiver) == 15


def test_an_outage_of_any_length_gives_nothing_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "KEEP_SECONDS", 0.0)
    store.trouble = [ConnectionError("away") for _ in range(3)]
    with running(store, limits=HURRIED) as receiver:
        assert receiver.deliver(push("d" * 40)).status_code == 202
        wait_until(lambda: [order.start.ref for order in store.stored] == ["d" * 40], 30)


def test_two_receivers_may_share_an_inbox(inbox: Path) -> None:
    async def share() -> list[str]:
        one, other = Inbox(inbox), Inbox(inbox)
        (first,) = await one.keep([Order(START, "first")])
        (seen,) = await other.read()
        await one.forget([first.number])
        await one.keep([Order(START, "second")])
        await other.forget([seen.number])
        return [kept.order.delivery for kept in await Inbox(inbox).read()]

    assert asyncio.run(share()) == ["second"]


def test_who_hangs_up_while_the_disk_is_slow_takes_nothing_back(
    store: Store, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, write = threading.Event(), Inbox._write
    monkeypatch.setattr(Inbox, "_write", lambda self, batches: (slow.wait(20), write(self, batches)))
    with running(store, limits=Limits(answer=0.5), inbox=inbox) as receiver:
        with ThreadPoolExecutor(3) as senders:
            sent = [senders.submit(receiver.deliver, push()) for _ in range(3)]
            assert [one.result().status_code for one in sent] == [503] * 3
        slow.set()
        wait_until(lambda: len(store.stored) == 3, 20)
        assert receiver.deliver(push()).status_code == 202


def test_health_says_what_keeps_deliveries_out(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    with running(store, inbox=tmp_path / "a file" / "inbox.db") as receiver:
        receiver.deliver(push())
        health = receiver.client.get(f"{receiver.url}/healthz")
        assert health.status_code == 503
        assert "a file" in health.json()["reason"]


def test_a_burst_is_answered_before_prefect_is_done(store: Store) -> None:
    store.gate.clear()
    with running(store, limits=Limits(alone=20, crowd=0.2)) as receiver, ThreadPoolExecutor(30) as senders:
        sent = [senders.submit(receiver.deliver, push()) for _ in range(30)]
        wait_until(lambda: sum(one.done() for one in sent) >= 20, 30)
        store.gate.set()
        assert {one.result().status_code for one in sent} == {202}
        wait_until(lambda: len(store.stored) == 30, 20)
