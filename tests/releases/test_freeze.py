"""Freeze windows by the wall clock, over the changes to and from summer time."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from releases.freeze import Day, FreezeWindow, frozen, thaws
from releases.yaml_text import read_yaml

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]
moments = st.integers(0, 2 * 365 * 1440).map(
    lambda minute: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)
)
times = st.times().map(lambda one: f"{one:%H:%M}")
windows = st.builds(
    lambda days, start, end, zone: FreezeWindow(days=tuple(days), start=start, end=end, zone=zone),
    st.sets(st.sampled_from(Day), min_size=1),
    times,
    times | st.just("24:00"),
    st.sampled_from(ZONES),
)


def berlin(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN)


@given(windows, moments)
def test_a_window_over_midnight_is_two_windows(window: FreezeWindow, moment: datetime) -> None:
    if window.start < window.end:
        return
    order = list(Day)
    after = tuple(order[(order.index(day) + 1) % 7] for day in window.days)
    evening = window.model_copy(update={"end": "24:00"})
    morning = window.model_copy(update={"days": after, "start": "00:00"})
    assert window.covers(moment) == (
        evening.covers(moment) or (window.end != "00:00" and morning.covers(moment))
    )


@settings(deadline=None, max_examples=40)
@given(windows, moments)
def test_a_frozen_environment_thaws_when_it_says(window: FreezeWindow, moment: datetime) -> None:
    thaw = thaws([window], moment)
    if thaw is None:
        assert all(window.covers(moment + timedelta(hours=hour)) for hour in range(7 * 24))
        return
    assert not window.covers(thaw)
    if window.covers(moment):
        assert window.covers(thaw - timedelta(minutes=1))


@given(moments, st.sampled_from(ZONES))
def test_every_day_and_all_day_is_always(moment: datetime, zone: str) -> None:
    assert frozen([FreezeWindow(zone=zone)], moment)


@pytest.mark.parametrize(("moment", "covered"), [
    (berlin("2026-03-29 01:59"), False),
    (berlin("2026-03-29 03:00"), True),  # the hour from two to three does not exist
    (berlin("2026-03-29 03:30"), False),
    (berlin("2026-10-25 02:15"), True),
    (berlin("2026-10-25 02:15").replace(fold=1), True),  # it exists twice
    (berlin("2026-10-25 03:30").replace(fold=1), False),
])  # fmt: skip
def test_a_change_of_the_clock_within_the_window(moment: datetime, covered: bool) -> None:
    window = FreezeWindow.model_validate({"from": "02:00", "to": "03:30", "zone": "Europe/Berlin"})
    assert window.covers(moment.astimezone(UTC)) == covered


def test_times_as_they_are_written_in_the_file() -> None:
    window = FreezeWindow.model_validate(read_yaml("{from: 16:30, to: 8:00, days: [fri]}"))
    assert (window.start, window.end) == ("16:30", "8:00")


@pytest.mark.parametrize("wrong", ["22", "990", "2200", "true", "16.5", "16:30:00", "2026-02-03"])
def test_what_is_no_clock_time_is_refused_with_how_one_is_written(wrong: str) -> None:
    """22 was taken for 00:22."""
    with pytest.raises(ValidationError, match=r"a time of day is written like 16:30"):
        FreezeWindow.model_validate(read_yaml(f"from: {wrong}"))


@pytest.mark.parametrize("wrong", [
    {"from": "25:00"}, {"to": "24:30"}, {"days": ["friday"]}, {"days": []}, {"zone": "Berlin"}, {"form": "08:00"},
])  # fmt: skip
def test_what_is_not_right_is_refused(wrong: dict) -> None:
    with pytest.raises(ValidationError):
        FreezeWindow.model_validate(wrong)
