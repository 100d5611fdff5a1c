"""From a points currency's policy to the two dates of a lot, by the program's calendar.

Inactivity is no date on lots. Source: docs/ledger.md, "Dates".
"""

from datetime import date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from loyalty.base.calendar import add_months, day_of_year, local_date, midnight, period_end
from loyalty.programs.types import ExpiryPolicy, FixedDays, NeverExpires, Rolling

_DAY = timedelta(days=1)


def dates(
    policy: ExpiryPolicy, pending_days: int, occurred_at: datetime, zone: ZoneInfo
) -> tuple[datetime | None, datetime | None]:
    """When points earned at `occurred_at` activate (None: at once) and expire (None: never).

    Both are local midnights: points activate as a day begins and are good to the end of their last day.
    """
    if not pending_days and isinstance(policy, NeverExpires):
        return None, None
    return _dates(policy, pending_days, local_date(occurred_at, zone), zone)


@lru_cache(maxsize=1024)
def _dates(
    policy: ExpiryPolicy, pending_days: int, earned_on: date, zone: ZoneInfo
) -> tuple[datetime | None, datetime | None]:
    activates_at = midnight(earned_on + timedelta(days=pending_days), zone) if pending_days else None
    match policy:
        case NeverExpires():
            return activates_at, None
        case Rolling():
            after = add_months(earned_on, policy.months or 0) + timedelta(days=policy.days or 0)
            last_day = period_end(after - _DAY, policy.round_up)
        case FixedDays():
            last_day = _next(policy, earned_on + timedelta(days=policy.days_min - 1))
    return activates_at, midnight(last_day + _DAY, zone)


def _next(policy: FixedDays, earliest: date) -> date:
    """The first of the policy's days from `earliest` on."""
    days = (day_of_year(day, year) for year in (earliest.year, earliest.year + 1) for day in policy.on)
    return min(day for day in days if day >= earliest)


def last_day_on(expires_at: datetime, zone: ZoneInfo) -> date:
    """The last local date on which points that expire at `expires_at` are good."""
    return local_date(expires_at - timedelta(microseconds=1), zone)
