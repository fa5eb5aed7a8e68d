"""What reconcile starts and what it calls drift, whatever has happened before."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from releases.reconcile import ATTEMPTS, SILENT, Attempt, Ended, Known, Seen, drift, is_repeat, judge

START = datetime(2026, 1, 1, tzinfo=UTC)
A, B, C = "a" * 40, "b" * 40, "c" * 40


def at(number: int) -> datetime:
    return START + timedelta(minutes=number)


def history(*runs: tuple[str, Ended]) -> tuple[Attempt, ...]:
    """Given oldest first, as they happened."""
    made = [
        Attempt(f"run-{number}", commit, ended, at(number)) for number, (commit, ended) in enumerate(runs)
    ]
    return tuple(reversed(made))


DONE, FAILED, LOST, GOING = Ended.done, Ended.failed, Ended.lost, Ended.going
CANCELLED, SUPERSEDED, FROZEN = Ended.cancelled, Ended.superseded, Ended.frozen


@pytest.mark.parametrize(
    ("known", "start", "after"),
    [
        pytest.param(Known(), True, "", id="never released"),
        pytest.param(Known(live=A), True, "", id="a push that never arrived"),
        pytest.param(Known(live=B, attempts=history((B, DONE))), False, "", id="live"),
        pytest.param(Known(live=B), False, "", id="live, released by hand"),
        pytest.param(Known(A, history((A, DONE), (B, GOING))), False, "", id="going on"),
        pytest.param(Known(A, history((C, GOING))), True, "", id="an older one is waiting"),
        pytest.param(Known(A, history((B, GOING), (C, GOING))), False, "", id="an older one came late"),
        pytest.param(Known(A, history((A, DONE), (B, FAILED))), False, "", id="tried and failed"),
        pytest.param(Known(A, history((A, DONE), (B, CANCELLED))), False, "", id="cancelled by a person"),
        pytest.param(Known(A, history((A, DONE), (B, DONE))), False, "", id="rolled back by a person"),
        pytest.param(Known(C, history((B, SUPERSEDED))), False, "", id="gave way to a release by hand"),
        pytest.param(Known(A, history((B, LOST))), True, "run-0", id="its worker died"),
        pytest.param(Known(A, history(*[(B, LOST)] * ATTEMPTS)), False, "", id="its worker died every time"),
        pytest.param(Known(A, history((B, FROZEN))), True, "run-0", id="refused in a freeze window"),
        pytest.param(
            Known(A, history((B, LOST), *[(B, FROZEN)] * 5)), True, "run-5", id="in many freeze windows"
        ),
        pytest.param(
            Known(A, history((B, FROZEN), (B, LOST), (B, LOST))),
            True,
            "run-2",
            id="lost twice after a freeze",
        ),
        pytest.param(Known(A, history((B, FROZEN), (B, FAILED))), False, "", id="failed after a freeze"),
        pytest.param(Known(A, history((B, DONE), (A, DONE))), True, "run-1", id="forced back, push lost"),
        pytest.param(
            Known(A, history((B, FAILED), (A, DONE))), True, "run-1", id="failed, left, forced back"
        ),
        pytest.param(
            Known(A, history((A, DONE), (B, FAILED), (A, SUPERSEDED))),
            False,
            "",
            id="an older push came late, and changed nothing",
        ),
        pytest.param(Known(A, history((A, DONE)), by_hand=at(5)), False, "", id="failed by hand since"),
        pytest.param(Known(A, history((A, DONE)), by_hand=at(-5)), True, "", id="failed by hand long ago"),
        pytest.param(Known(C, by_hand=at(5)), False, "", id="rolled back, and Prefect has forgotten"),
    ],
)
def test_whether_the_head_b_is_started(known: Known, start: bool, after: str) -> None:
    verdict = judge(B, known)
    assert (verdict.start, verdict.after) == (start, after), verdict.why
    assert verdict.why


@pytest.mark.parametrize(
    ("earlier", "repeats"),
    [
        (history(), False),
        (history((A, DONE)), False),
        (history((B, DONE)), True),
        (history((B, FAILED)), True),
        (history((B, LOST)), False),
        (history((B, CANCELLED)), False),
        (history((B, DONE), (A, DONE)), False),
        (history((B, DONE), (A, SUPERSEDED)), True),
        (history((B, DONE), (A, FAILED)), False),
    ],
)
def test_whether_another_run_of_b_is_a_repeat(earlier: tuple[Attempt, ...], repeats: bool) -> None:
    assert is_repeat(B, earlier) is repeats


# --- whatever has happened ---
RUNS = st.lists(st.tuples(st.sampled_from([A, B, C]), st.sampled_from(list(Ended))), max_size=8)
KNOWN = st.builds(
    lambda runs, live, by_hand: Known(live, history(*runs), by_hand),
    RUNS,
    st.sampled_from(["", A, B, C]),
    st.none() | st.integers(-2, 9).map(at),
)


@given(KNOWN)
def test_what_reconcile_starts_is_not_started_again(known: Known) -> None:
    """Once its run stands, whatever comes of it but a loss, and three losses end it too."""
    started = 0
    while (verdict := judge(B, known)).start:
        started += 1
        assert verdict.after in {"", *(one.id for one in known.attempts)}
        run = Attempt(f"again-{started}", B, GOING, at(100 + started))
        assert not judge(B, replace(known, attempts=(run, *known.attempts))).start
        for ended in (DONE, FAILED, CANCELLED, SUPERSEDED):
            settled = replace(known, attempts=(replace(run, ended=ended), *known.attempts))
            assert not judge(B, settled).start
        known = replace(known, attempts=(replace(run, ended=LOST), *known.attempts))
    assert started <= ATTEMPTS


@given(KNOWN)
def test_a_live_head_and_a_release_that_goes_on_are_left_alone(known: Known) -> None:
    going = any(one.ended is GOING and one.commit == B for one in known.attempts)
    if known.live == B or going:
        assert not judge(B, known).start


@given(KNOWN)
def test_two_reconciles_that_see_the_same_ask_for_the_same_run(known: Known) -> None:
    assert judge(B, known) == judge(B, known)


@given(RUNS)
def test_a_run_that_reconcile_starts_is_never_taken_for_a_repeat(
    runs: list[tuple[str, Ended]],
) -> None:
    known = Known("", history(*runs))
    if judge(B, known).start:
        assert not is_repeat(B, known.attempts)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, ""),
        ({"unreachable": "connection refused"}, "the node does not answer: connection refused"),
        ({"silent": SILENT + 120}, "the agent has said nothing for 5 minutes"),
        ({"wanted": 2}, "the node was told to keep release 2"),
        ({"wanted": None}, "the node was told to keep nothing"),
        ({"live": 2}, "the node serves release 2"),
        ({"live": None}, "the node serves nothing"),
        ({"changed": "somebody changed the container"}, "somebody changed the container"),
    ],
)
def test_how_a_node_differs(change: dict[str, object], said: str) -> None:
    assert drift(3, replace(Seen(wanted=3, live=3), **change)) == said
