"""From policy to the dates of a lot, in the program's calendar."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from loyalty.base.calendar import RoundUp
from loyalty.ledger.expiry import dates, last_day_on
from loyalty.programs.types import FixedDays, NeverExpires, Rolling

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")
NOBODY = date(2000, 1, 1)  # joined; plays no part here


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize(
    ("policy", "earned", "zone", "last_day"),
    [
        (Rolling(days=90), "2017-01-01T12:00-05:00", NEW_YORK, date(2017, 3, 31)),
        (Rolling(days=1), "2026-05-04T23:59+02:00", BERLIN, date(2026, 5, 4)),
        (Rolling(months=12), "2026-05-04T10:00+02:00", BERLIN, date(2027, 5, 3)),
        (Rolling(months=12, round_up=RoundUp.MONTH), "2026-05-04T10:00+02:00", BERLIN, date(2027, 5, 31)),
        (Rolling(months=12, round_up=RoundUp.MONTH), "2026-05-01T10:00+02:00", BERLIN, date(2027, 4, 30)),
        (Rolling(months=12, round_up=RoundUp.QUARTER), "2026-05-04T10:00+02:00", BERLIN, date(2027, 6, 30)),
        (
            Rolling(months=12, round_up=RoundUp.HALF_YEAR),
            "2026-08-04T10:00+02:00",
            BERLIN,
            date(2027, 12, 31),
        ),
        (Rolling(days=30, round_up=RoundUp.YEAR), "2026-12-20T10:00+01:00", BERLIN, date(2027, 12, 31)),
        (Rolling(months=1), "2026-01-31T10:00+01:00", BERLIN, date(2026, 2, 27)),  # clamped to 28 February
    ],
)
def test_points_are_good_to_the_end_of_their_last_day(
    policy: Rolling, earned: str, zone: ZoneInfo, last_day: date
) -> None:
    expires_at = dates(policy, 0, utc(earned), zone, NOBODY).expires_at
    assert expires_at is not None
    assert last_day_on(expires_at, zone) == last_day
    assert expires_at.astimezone(zone).hour == 0


SPRING, HALVES = FixedDays(("03-31",)), FixedDays(("12-31", "06-30"))
LEAP = FixedDays(("02-29",))


@pytest.mark.parametrize(
    ("policy", "earned", "last_day"),
    [
        (SPRING, "2026-05-04T10:00+02:00", date(2027, 3, 31)),
        (SPRING, "2026-03-30T10:00+02:00", date(2026, 3, 31)),
        (SPRING, "2026-03-31T00:00+02:00", date(2026, 3, 31)),  # on the day itself, from its first instant
        (SPRING, "2026-03-31T23:59:59.999999+02:00", date(2026, 3, 31)),  # to its last
        (SPRING, "2026-04-01T00:00+02:00", date(2027, 3, 31)),
        (FixedDays(("03-31",), days_min=2), "2026-03-31T10:00+02:00", date(2027, 3, 31)),
        (FixedDays(("03-31",), days_min=2), "2026-03-30T10:00+02:00", date(2026, 3, 31)),
        (FixedDays(("03-31",), days_min=366), "2026-03-31T10:00+02:00", date(2027, 3, 31)),
        (FixedDays(("03-31",), days_min=367), "2026-03-31T10:00+02:00", date(2028, 3, 31)),
        (HALVES, "2026-06-30T10:00+02:00", date(2026, 6, 30)),
        (HALVES, "2026-07-01T10:00+02:00", date(2026, 12, 31)),
        (HALVES, "2026-12-31T23:30+01:00", date(2026, 12, 31)),
        (HALVES, "2027-01-01T00:00+01:00", date(2027, 6, 30)),
        (LEAP, "2026-05-04T10:00+02:00", date(2027, 2, 28)),
        (LEAP, "2027-02-28T10:00+01:00", date(2027, 2, 28)),
        (LEAP, "2027-03-01T10:00+01:00", date(2028, 2, 29)),
        (LEAP, "2028-02-28T10:00+01:00", date(2028, 2, 29)),
        (FixedDays(("03-29",)), "2026-03-29T01:59+01:00", date(2026, 3, 29)),  # the day has 23 hours
        (FixedDays(("10-25",)), "2026-10-25T02:30+01:00", date(2026, 10, 25)),  # and this one 25
    ],
    ids=str,
)
def test_points_end_with_the_next_fixed_day(policy: FixedDays, earned: str, last_day: date) -> None:
    expires_at = dates(policy, 0, utc(earned), BERLIN, NOBODY).expires_at
    assert expires_at is not None
    assert last_day_on(expires_at, BERLIN) == last_day
    assert expires_at.astimezone(BERLIN).hour == 0


def test_the_day_of_earning_is_the_local_one() -> None:
    """23:30 in New York is the next day in UTC; 90 days count from the day on the receipt."""
    expires_at = dates(Rolling(days=90), 0, utc("2017-06-01T23:30-04:00"), NEW_YORK, NOBODY).expires_at
    assert expires_at == utc("2017-08-30T00:00-04:00")


def test_ninety_days_over_a_clock_change_are_ninety_dates() -> None:
    expires_at = dates(Rolling(days=90), 0, utc("2017-01-10T12:00-05:00"), NEW_YORK, NOBODY).expires_at
    assert expires_at == utc("2017-04-10T00:00-04:00")


def test_pending_points_activate_as_a_local_day_begins() -> None:
    activates_at, expires_at, _ = dates(NeverExpires(), 14, utc("2026-10-20T18:00+02:00"), BERLIN, NOBODY)
    assert activates_at == utc("2026-11-03T00:00+01:00")
    assert expires_at is None


def test_without_delay_and_expiry_a_lot_has_no_dates() -> None:
    assert dates(NeverExpires(), 0, utc("2026-10-20T18:00+02:00"), BERLIN, NOBODY) == (None, None, None)
