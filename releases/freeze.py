"""Freeze windows: times of the week, by the clock on the wall, at which an environment takes no release."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from releases.problem import Refused

HOUR = 60
DAY = 24 * HOUR
LONGEST_LOOK = timedelta(days=8)
MINUTE = timedelta(minutes=1)


class Frozen(Refused):
    """A release in a freeze window; what a push has asked for is tried again after it."""


class Day(StrEnum):
    """A day of the week, in the order of `datetime.weekday`."""

    mon = "mon"
    tue = "tue"
    wed = "wed"
    thu = "thu"
    fri = "fri"
    sat = "sat"
    sun = "sun"


def _a_time(text: object) -> str:
    """An hour by itself, such as 22, is refused in the same words as any other mistake."""
    if not isinstance(text, str) or not re.fullmatch(r"([01]?[0-9]|2[0-3]):[0-5][0-9]|24:00", text):
        raise ValueError("a time of day is written like 16:30, at most 24:00")
    return text


def _a_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, LookupError) as error:
        raise ValueError(f"no time zone is called {name!r}; one is Europe/Berlin") from error
    return name


TimeOfDay = Annotated[str, BeforeValidator(_a_time)]


class FreezeWindow(BaseModel):
    """From a time of day to another; to an earlier one, or the same: into the next day."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    days: tuple[Day, ...] = Field(tuple(Day), min_length=1, description="On which it begins.")
    start: TimeOfDay = Field("00:00", alias="from")
    end: TimeOfDay = Field("24:00", alias="to")
    zone: Annotated[str, AfterValidator(_a_zone)] = Field("UTC", description="For example Europe/Berlin.")

    def covers(self, moment: datetime) -> bool:
        """Whether the moment, which knows its time zone, is within it."""
        local = moment.astimezone(ZoneInfo(self.zone))
        minute = local.hour * HOUR + local.minute
        begins_today = list(Day)[local.weekday()] in self.days
        began_yesterday = list(Day)[local.weekday() - 1] in self.days
        start, end = _minutes(self.start), _minutes(self.end)
        if start < end:
            return begins_today and start <= minute < end
        return (begins_today and minute >= start) or (began_yesterday and minute < end)

    def __str__(self) -> str:
        days = "every day" if set(self.days) == set(Day) else ", ".join(self.days)
        return f"{days} {self.start} to {self.end} {self.zone}"


def frozen(windows: Sequence[FreezeWindow], moment: datetime) -> FreezeWindow | None:
    """The window that covers the moment, if one does."""
    return next((window for window in windows if window.covers(moment)), None)


def check(environment: str, windows: Sequence[FreezeWindow], moment: datetime) -> None:
    """See that the environment takes releases. Raises Frozen that says until when not."""
    window = frozen(windows, moment)
    if window is None:
        return
    thaw = thaws(windows, moment)
    until = f"until {thaw.astimezone(ZoneInfo(window.zone)):%a %Y-%m-%d %H:%M %Z}" if thaw else "for good"
    raise Frozen(
        f"{environment} is frozen {until}",
        expected="no release in the freeze windows of the environment",
        got=str(window),
        next_step="wait, or say why not: --override-freeze REASON",
    )


def thaws(windows: Sequence[FreezeWindow], moment: datetime) -> datetime | None:
    """The first whole minute from the moment on that no window covers; None: not within a week."""
    later = moment.astimezone(UTC).replace(second=0, microsecond=0)
    while later <= moment + LONGEST_LOOK:
        if later >= moment and frozen(windows, later) is None:
            return later
        later += MINUTE
    return None


def _minutes(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * HOUR + int(minutes)
