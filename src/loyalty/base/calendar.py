"""Calendar arithmetic in a program's zone: local dates, month clamping, local midnights.

Pure. Instants are aware UTC; dates are local to the zone that is passed in.
"""

import calendar
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

CLOCK_DIFFERENCE_MAX = timedelta(seconds=10)  # so far apart still means now: the caller's clock is another

# Instants that we are told lie between these: calendars are known for them in every zone, with years to add to them.
INSTANT_MIN = datetime(1970, 1, 1, tzinfo=UTC)
INSTANT_MAX = datetime(2200, 1, 1, tzinfo=UTC)


class RoundUp(StrEnum):
    """The end of the calendar period to which a date is rounded up."""

    DAY = "day"
    MONTH = "month"
    QUARTER = "quarter"
    HALF_YEAR = "half_year"
    YEAR = "year"


class CapPeriod(StrEnum):
    """The local calendar period in which a limit counts."""

    DAY = "day"
    WEEK = "week"  # from Monday
    MONTH = "month"
    YEAR = "year"
    EVER = "ever"


_MONTHS = {RoundUp.MONTH: 1, RoundUp.QUARTER: 3, RoundUp.HALF_YEAR: 6, RoundUp.YEAR: 12}


def local_date(at: datetime, zone: ZoneInfo) -> date:
    """The calendar date of an instant in `zone`."""
    return at.astimezone(zone).date()


def midnight(on: date, zone: ZoneInfo) -> datetime:
    """The instant (UTC) at which a local date begins.

    Where a clock change leaves no midnight the date begins at the first instant after the gap;
    where midnight comes twice it begins at the first one.
    """
    wall = datetime.combine(on, time.min, zone)
    instant = wall.astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == wall.replace(tzinfo=None):
        return instant
    # The wall time does not exist: the date begins where the clock jumps, found by halving.
    early, late = instant - timedelta(days=1), instant
    while late - early > timedelta(seconds=1):
        middle = early + timedelta(seconds=(late - early) // timedelta(seconds=2))
        early, late = (early, middle) if middle.astimezone(zone).date() >= on else (middle, late)
    return late


def add_months(on: date, months: int) -> date:
    """The same day `months` later, clamped to the month's last day (31 January + 1 = 28 or 29 February)."""
    index = on.year * 12 + on.month - 1 + months
    year, month = divmod(index, 12)
    if on.day <= 28:  # in every month; to look a month up costs more than all the rest
        return date(year, month + 1, on.day)
    return date(year, month + 1, min(on.day, calendar.monthrange(year, month + 1)[1]))


def day_of_year(day: str, year: int) -> date:
    """The date of a month and day such as 03-31 in a year; one that its month does not have is the month's last."""
    month, number = int(day[:2]), int(day[3:])
    return date(year, month, min(number, calendar.monthrange(year, month)[1]))


def period_start(on: date, period: RoundUp) -> date:
    """The first day of the calendar period that holds `on`."""
    if period is RoundUp.DAY:
        return on
    months = _MONTHS[period]
    return date(on.year, (on.month - 1) // months * months + 1, 1)


def period_end(on: date, period: RoundUp) -> date:
    """The last day of the calendar period that holds `on`."""
    if period is RoundUp.DAY:
        return on
    return add_months(period_start(on, period), _MONTHS[period]) - timedelta(days=1)


def period_of(on: date, period: CapPeriod) -> str:
    """The name of the period that holds a local date: 2026-05-04, 2026-W19, 2026-05, 2026 or ever."""
    match period:
        case CapPeriod.DAY:
            return on.isoformat()
        case CapPeriod.WEEK:
            year, week, _ = on.isocalendar()
            return f"{year:04}-W{week:02}"
        case CapPeriod.MONTH:
            return on.isoformat()[:7]
        case CapPeriod.YEAR:
            return on.isoformat()[:4]
        case CapPeriod.EVER:
            return "ever"


def day_after(on: date, period: CapPeriod) -> date | None:
    """The first local date behind the period that holds `on`; None: it never ends."""
    match period:
        case CapPeriod.DAY:
            return on + timedelta(days=1)
        case CapPeriod.WEEK:
            return on + timedelta(days=8 - on.isoweekday())
        case CapPeriod.MONTH:
            return period_end(on, RoundUp.MONTH) + timedelta(days=1)
        case CapPeriod.YEAR:
            return period_end(on, RoundUp.YEAR) + timedelta(days=1)
        case CapPeriod.EVER:
            return None
