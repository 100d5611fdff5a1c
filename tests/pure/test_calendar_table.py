"""The calendar as a table of rows that anybody can check: tests/pure/calendar.md."""

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from loyalty.base.calendar import CapPeriod, RoundUp, add_months, midnight, period_end, period_of
from loyalty.ledger.expiry import dates, last_day_on
from loyalty.programs.types import ExpiryPolicy, FixedDays, Inactivity, MemberYear, Rolling
from loyalty.tiers.types import Anniversary, Calendar, CalendarUnit, RollingWindow
from loyalty.tiers.windows import window

TABLE = Path(__file__).with_name("calendar.md").read_text("utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")][:4]
    for line in TABLE.splitlines()
    if line.startswith("|") and not line.startswith(("| what", "|---"))
]
ZONES = [ZoneInfo(name) for name in ("Europe/Berlin", "America/New_York", "Pacific/Auckland")]
NOBODY = date(2000, 1, 1)  # joined; plays no part in windows of the calendar


def good_to(policy: ExpiryPolicy, on: date, joined: date = NOBODY) -> str:
    """The last day, the same from the first instant of the date to its last, in three zones."""
    found: set[date] = set()
    for zone in ZONES:
        for earned in (
            midnight(on, zone),
            midnight(on + timedelta(days=1), zone) - timedelta(microseconds=1),
        ):
            expires_at = dates(policy, 0, earned, zone, joined).expires_at
            assert expires_at is not None
            found.add(last_day_on(expires_at, zone))
    (last,) = found
    return last.isoformat()


def answer(what: str, first: str, second: str) -> str:
    match what:
        case "midnight":
            return midnight(date.fromisoformat(second), ZoneInfo(first)).strftime("%Y-%m-%dT%H:%MZ")
        case "months":
            return add_months(date.fromisoformat(first), int(second)).isoformat()
        case "period end":
            return period_end(date.fromisoformat(second), RoundUp(first)).isoformat()
        case "week":
            return period_of(date.fromisoformat(first), CapPeriod.WEEK)
        case "rolling":
            span, _, period = second.partition(", ")
            number, unit = span.split()
            days, months = (int(number), None) if unit == "days" else (None, int(number))
            return good_to(Rolling(days, months, RoundUp(period or "day")), date.fromisoformat(first))
        case "fixed":
            on, _, least = second.partition(", at least ")
            return good_to(FixedDays(tuple(on.split()), int(least or 1)), date.fromisoformat(first))
        case "anniversary":
            many, joined, *least = re.split(" months from |, at least ", second)
            policy = MemberYear(int(many), *map(int, least))
            return good_to(policy, date.fromisoformat(first), date.fromisoformat(joined))
        case "inactivity":
            number, unit = second.split()
            days, months = (int(number), None) if unit == "days" else (None, int(number))
            return good_to(Inactivity(days, months), date.fromisoformat(first))
        case "window":
            period, joined = _period(second)
            return " ".join(day.isoformat() for day in window(period, joined, date.fromisoformat(first)))
        case _:
            raise AssertionError(what)


def _period(text: str) -> tuple[Calendar | Anniversary | RollingWindow, date]:
    match text.split():
        case ["last", number, "days"]:
            return RollingWindow(days=int(number)), NOBODY
        case ["last", number, "months"]:
            return RollingWindow(months=int(number)), NOBODY
        case [months, "months", "from", joined]:
            return Anniversary(int(months)), date.fromisoformat(joined)
        case _:
            return Calendar(CalendarUnit(text)), NOBODY


@pytest.mark.parametrize(("what", "first", "second", "expected"), ROWS, ids=lambda cell: cell)
def test_the_calendar_answers_as_the_table_says(what: str, first: str, second: str, expected: str) -> None:
    assert answer(what, first, second) == expected


def test_the_table_is_whole() -> None:
    assert len(ROWS) >= 180
    assert {row[0] for row in ROWS} == {
        "midnight",
        "months",
        "period end",
        "week",
        "rolling",
        "fixed",
        "anniversary",
        "inactivity",
        "window",
    }


@pytest.mark.parametrize("zone", ZONES, ids=str)
def test_every_day_of_four_years_begins_where_the_one_before_it_ends(zone: ZoneInfo) -> None:
    day = date(2025, 1, 1)
    while day < date(2029, 1, 1):
        begins = midnight(day, zone)
        assert begins.astimezone(zone).date() == day
        assert (begins - timedelta(microseconds=1)).astimezone(zone).date() == day - timedelta(days=1)
        day += timedelta(days=1)
    assert midnight(day, zone) > datetime(2028, 12, 30, tzinfo=UTC)
