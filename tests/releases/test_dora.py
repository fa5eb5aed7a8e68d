"""The four measures, by example and for any ledger."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from releases.dora import Dora, measure
from releases.ledger import Entry
from releases.release import Outcome, Release, Verdict
from releases.spec import Run

START = datetime(2026, 11, 16, tzinfo=UTC)
END = START + timedelta(weeks=1)
HOUR = timedelta(hours=1)
GOOD, BACK, NEVER = Verdict.confirmed, Verdict.reverted, Verdict.failed


def entry(number: int, verdict: Verdict | None, hours: float, restores: int | None = None) -> Entry:
    at = START + hours * HOUR
    release = Release(
        service="iris",
        environment="production",
        number=number,
        image=f"r@sha256:{number:064x}",
        version=f"v{number}",
        revision=f"{number:040x}",
        port=80,
        public_port=80,
        run=Run(),
        confirm_window=60,
        restores=restores,
        created=at - timedelta(minutes=5),
    )
    seconds = {} if verdict is NEVER else {"switch": 0.5, "smoke test after": 2.0, "bake": 7.5}
    return Entry(
        release, Outcome(number=number, verdict=verdict, at=at, seconds=seconds) if verdict else None
    )


def of(*entries: Entry, committed: dict[int, datetime] | None = None) -> Dora:
    known = {f"{number:040x}": at for number, at in (committed or {}).items()}
    return measure(entries, known, START, END)


def test_a_week_of_releases() -> None:
    found = of(
        entry(1, GOOD, 1),
        entry(2, NEVER, 20),  # no user met it
        entry(3, BACK, 30),  # taken back after the switch: 10 seconds
        entry(4, GOOD, 40),
        entry(5, GOOD, 42, restores=1),  # release 4 was no good: two hours
        entry(6, None, 50),  # still going on
        entry(7, GOOD, 60),
        committed={1: START, 4: START + 37 * HOUR, 7: START + 50 * HOUR},
    )
    assert (found.deployments, found.failed, found.per_week) == (4, 2, 4.0)
    assert found.failure_rate == 0.5
    assert found.lead_time == timedelta(hours=3).total_seconds()
    assert found.lead_times == 3
    assert found.time_to_restore == (10 + 2 * 3600) / 2


def test_nothing_is_not_zero() -> None:
    assert of() == Dora(0, 0.0, 0, None, None, 0, None)


def test_what_was_before_the_week_is_not_of_it() -> None:
    assert of(entry(1, GOOD, -1), entry(2, GOOD, 24 * 7), entry(3, GOOD, 24)).deployments == 1


ledgers = st.lists(
    st.tuples(st.sampled_from([GOOD, BACK, NEVER, None]), st.floats(0.01, 10), st.booleans()), max_size=30
)


def made(found: list[tuple[Verdict | None, float, bool]]) -> list[Entry]:
    hours, entries = 0.0, []
    for number, (verdict, waited, back) in enumerate(found, start=1):
        hours += waited
        entries.append(entry(number, verdict, hours, restores=1 if back and number > 1 else None))
    return entries


@given(ledgers, st.randoms())
def test_for_any_ledger(found: list[tuple[Verdict | None, float, bool]], dice: object) -> None:
    entries = made(found)
    measured = measure(entries, {}, START, START + 1000 * HOUR)
    assert 0 <= measured.failed <= measured.deployments <= len(entries)
    assert (measured.failure_rate is None) == (measured.deployments == 0)
    assert (measured.time_to_restore is None) == (measured.failed == 0)
    assert measured.time_to_restore is None or measured.time_to_restore >= 0
    dice.shuffle(entries)  # type: ignore[attr-defined]
    assert measure(entries, {}, START, START + 1000 * HOUR) == measured


@given(ledgers, st.floats(1, 300))
def test_the_deployments_of_two_spans_are_those_of_both(
    found: list[tuple[Verdict | None, float, bool]], cut: float
) -> None:
    entries, middle, end = made(found), START + cut * HOUR, START + 1000 * HOUR
    parts = [measure(entries, {}, START, middle), measure(entries, {}, middle, end)]
    whole = measure(entries, {}, START, end)
    assert sum(part.deployments for part in parts) == whole.deployments
    assert sum(part.failed for part in parts) == whole.failed
