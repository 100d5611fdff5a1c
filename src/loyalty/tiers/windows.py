"""The windows in which a ladder counts, by the program's calendar.

Pure. A window is two local dates, both inside. Source: docs/tiers.md, "When it is counted".
"""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import NamedTuple

from loyalty.base.calendar import RoundUp, add_months, period_end, period_start
from loyalty.tiers.types import Anniversary, Calendar, CalendarUnit, Lifetime, Period, RollingWindow

_DAY = timedelta(days=1)


class Window(NamedTuple):
    first: date
    last: date


def window(period: Period, joined_on: date, on: date) -> Window:
    """The window that holds `on`; of a rolling one, the window that ends with it."""
    match period:
        case Calendar(unit=unit):
            period_of = RoundUp(unit)
            return Window(period_start(on, period_of), period_end(on, period_of))
        case Anniversary(months=months):
            # From the day of joining each time: one of the 31st begins on a 31st again after a shorter month.
            whole = months_between(joined_on, on) // months
            first = add_months(joined_on, whole * months)
            return Window(first, add_months(joined_on, (whole + 1) * months) - _DAY)
        case RollingWindow(days=None, months=months):
            return Window(add_months(on, -(months or 1)) + _DAY, on)
        case RollingWindow(days=days):
            return Window(on - timedelta(days=(days or 1) - 1), on)
        case Lifetime():
            return Window(date.min, date.max)


def earlier(period: Period, joined_on: date, of: Window) -> Window:
    """The window before one of a calendar or of anniversaries."""
    return window(period, joined_on, of.first - _DAY)


def begins(period: Period, joined_on: date, after: date) -> Iterator[date]:
    """The first days of the windows that begin after a date, one after the other, without end.

    Needs: a period of windows that follow one another.
    """
    last = window(period, joined_on, after).last
    while True:
        yield last + _DAY
        last = window(period, joined_on, last + _DAY).last


def leaves(period: RollingWindow, on: date) -> date:
    """The first date whose window no longer holds `on`."""
    if period.days is not None:
        return on + timedelta(days=period.days)
    same = add_months(on, period.months or 1)
    return same if same.day == on.day else same + _DAY  # the end of a shorter month holds it still


def months_of(period: Calendar | Anniversary) -> int:
    """The months of one window."""
    if isinstance(period, Anniversary):
        return period.months
    return {CalendarUnit.MONTH: 1, CalendarUnit.QUARTER: 3, CalendarUnit.HALF_YEAR: 6, CalendarUnit.YEAR: 12}[
        period.unit
    ]


def months_between(first: date, on: date) -> int:
    """Whole months from `first` to `on`, a month's end clamped; below zero when `on` comes before."""
    months = (on.year - first.year) * 12 + on.month - first.month
    return months if add_months(first, months) <= on else months - 1
