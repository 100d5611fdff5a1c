"""Local dates, months that clamp and midnights that clocks skip or show twice."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.base.calendar import (
    CapPeriod,
    RoundUp,
    add_months,
    day_after,
    local_date,
    midnight,
    period_end,
    period_of,
)

ZONES = (
    "America/New_York", "America/Havana", "America/Sao_Paulo", "America/St_Johns", "Asia/Beirut", "Asia/Kathmandu",
    "Australia/Lord_Howe", "Europe/Berlin", "Pacific/Apia", "Pacific/Kiritimati", "UTC",
)  # fmt: skip


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("at", "zone", "on"),
    [
        ("2026-01-01T04:59:59", "America/New_York", date(2025, 12, 31)),
        ("2026-01-01T05:00:00", "America/New_York", date(2026, 1, 1)),
        ("2026-07-01T04:00:00", "America/New_York", date(2026, 7, 1)),
        ("2026-05-04T10:00:00", "Pacific/Kiritimati", date(2026, 5, 5)),
    ],
)
def test_an_instant_is_on_the_date_that_the_shop_sees(at: str, zone: str, on: date) -> None:
    assert local_date(utc(at), ZoneInfo(zone)) == on


@pytest.mark.parametrize(
    ("on", "zone", "begins"),
    [
        (date(2026, 1, 1), "America/New_York", "2026-01-01T05:00"),
        (date(2026, 7, 1), "America/New_York", "2026-07-01T04:00"),
        (date(2026, 3, 29), "Europe/Berlin", "2026-03-28T23:00"),  # the jump comes later that night
        (date(2026, 3, 30), "Europe/Berlin", "2026-03-29T22:00"),
        (date(2021, 3, 28), "Asia/Beirut", "2021-03-27T22:00"),  # no midnight: the date begins at 01:00
        (date(2018, 11, 4), "America/Sao_Paulo", "2018-11-04T03:00"),  # no midnight either
        (date(2018, 2, 18), "America/Sao_Paulo", "2018-02-18T03:00"),  # 23:00 to 24:00 came twice before
        (date(2025, 11, 2), "America/Havana", "2025-11-02T04:00"),  # midnight comes twice: the first
        (date(2011, 12, 30), "Pacific/Apia", "2011-12-30T10:00"),  # a date that Samoa skipped
        (date(2011, 12, 31), "Pacific/Apia", "2011-12-30T10:00"),
    ],
)
def test_a_date_begins_at_its_first_instant(on: date, zone: str, begins: str) -> None:
    assert midnight(on, ZoneInfo(zone)) == utc(begins)


@given(st.dates(date(1975, 1, 1), date(2060, 12, 31)), st.sampled_from(ZONES))
def test_before_a_dates_first_instant_it_is_never_that_date(on: date, name: str) -> None:
    zone = ZoneInfo(name)
    begins = midnight(on, zone)
    assert begins.tzinfo is UTC
    assert local_date(begins, zone) >= on
    assert local_date(begins - timedelta(seconds=1), zone) < on
    assert begins <= midnight(on + timedelta(days=1), zone)


@pytest.mark.parametrize(
    ("on", "months", "then"),
    [
        (date(2026, 1, 31), 1, date(2026, 2, 28)),
        (date(2028, 1, 31), 1, date(2028, 2, 29)),
        (date(2026, 1, 31), 2, date(2026, 3, 31)),  # clamping does not stick
        (date(2026, 5, 31), 6, date(2026, 11, 30)),
        (date(2028, 2, 29), 12, date(2029, 2, 28)),
        (date(2028, 2, 29), 48, date(2032, 2, 29)),
        (date(2026, 12, 15), 1, date(2027, 1, 15)),
        (date(2026, 12, 31), 0, date(2026, 12, 31)),
        (date(2026, 3, 31), -1, date(2026, 2, 28)),
    ],
)
def test_a_month_later_is_the_same_day_or_the_months_last(on: date, months: int, then: date) -> None:
    assert add_months(on, months) == then


@given(st.dates(date(1980, 1, 1), date(2080, 1, 1)), st.integers(0, 600))
def test_months_add_up_and_never_leave_their_month(on: date, months: int) -> None:
    then = add_months(on, months)
    assert (then.year * 12 + then.month) - (on.year * 12 + on.month) == months
    assert then.day == on.day or (then.day < on.day and (then + timedelta(days=1)).day == 1)


@pytest.mark.parametrize(
    ("on", "period", "last"),
    [
        (date(2026, 5, 4), RoundUp.DAY, date(2026, 5, 4)),
        (date(2026, 5, 4), RoundUp.MONTH, date(2026, 5, 31)),
        (date(2028, 2, 1), RoundUp.MONTH, date(2028, 2, 29)),
        (date(2026, 5, 4), RoundUp.QUARTER, date(2026, 6, 30)),
        (date(2026, 12, 31), RoundUp.QUARTER, date(2026, 12, 31)),
        (date(2026, 5, 4), RoundUp.HALF_YEAR, date(2026, 6, 30)),
        (date(2026, 7, 1), RoundUp.HALF_YEAR, date(2026, 12, 31)),
        (date(2026, 1, 1), RoundUp.YEAR, date(2026, 12, 31)),
    ],
)
def test_a_date_is_rounded_up_to_the_end_of_its_period(on: date, period: RoundUp, last: date) -> None:
    assert period_end(on, period) == last


@given(st.dates(date(1980, 1, 1), date(2080, 1, 1)), st.sampled_from(CapPeriod))
def test_a_limits_period_lasts_to_the_day_before_the_next_one(on: date, period: CapPeriod) -> None:
    after = day_after(on, period)
    if after is None:
        assert period is CapPeriod.EVER
        return
    assert period_of(after, period) != period_of(on, period) == period_of(after - timedelta(days=1), period)


@given(st.dates(date(1980, 1, 1), date(2080, 1, 1)), st.sampled_from(RoundUp))
def test_the_day_after_a_period_begins_the_next_one(on: date, period: RoundUp) -> None:
    last = period_end(on, period)
    assert on <= last == period_end(last, period)
    assert period is RoundUp.DAY or (last + timedelta(days=1)).day == 1
    assert period_end(last + timedelta(days=1), period) > last
