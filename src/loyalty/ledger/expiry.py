"""From a points currency's policy to the two dates of a lot, by the program's calendar.

Where points slide, the date is the least they are good for; what their owner does puts it off for all of the account's.
Source: docs/ledger.md, "Dates".
"""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from loyalty.base.calendar import add_months, day_of_year, local_date, midnight, period_end
from loyalty.ledger.types import Account, Entry, EntryKind, Lot
from loyalty.programs.types import (
    Activity,
    ExpiryPolicy,
    FixedDays,
    Inactivity,
    MemberYear,
    NeverExpires,
    Rolling,
)

_DAY = timedelta(days=1)

ACTIVITIES: dict[EntryKind, Activity] = {
    EntryKind.EARN: Activity.EARN,
    EntryKind.IMPORT: Activity.EARN,
    EntryKind.REDEEM: Activity.REDEEM,
    EntryKind.CAPTURE: Activity.REDEEM,
    EntryKind.ADJUST_CREDIT: Activity.CREDIT,
    EntryKind.TRANSFER_OUT: Activity.GIVE,
    EntryKind.TRANSFER_IN: Activity.RECEIVE,
}


class Dates(NamedTuple):
    """When a lot's points activate (None: at once) and expire (None: never), and the policy by which they slide."""

    activates_at: datetime | None
    expires_at: datetime | None
    slides: str | None = None


def dates(
    policy: ExpiryPolicy, pending_days: int, occurred_at: datetime, zone: ZoneInfo, joined_on: date
) -> Dates:
    """The dates of points earned at `occurred_at`.

    Both are local midnights: points activate as a day begins and are good to the end of their last day. `joined_on`
    is the local date on which their owner joined.
    """
    if not pending_days and isinstance(policy, NeverExpires):
        return Dates(None, None)
    joined = joined_on if isinstance(policy, MemberYear) else date.min
    return _dates(policy, pending_days, local_date(occurred_at, zone), zone, joined)


@lru_cache(maxsize=1024)
def _dates(
    policy: ExpiryPolicy, pending_days: int, earned_on: date, zone: ZoneInfo, joined_on: date
) -> Dates:
    activates_at = midnight(earned_on + timedelta(days=pending_days), zone) if pending_days else None
    match policy:
        case NeverExpires():
            return Dates(activates_at, None)
        case Rolling():
            last_day = period_end(_after(policy, earned_on) - _DAY, policy.round_up)
        case Inactivity():
            last_day = _after(policy, earned_on) - _DAY
        case FixedDays():
            last_day = _next(policy, earned_on + timedelta(days=policy.days_min - 1))
        case MemberYear():
            last_day = _anniversary(policy, joined_on, earned_on + timedelta(days=policy.days_min)) - _DAY
    return Dates(activates_at, midnight(last_day + _DAY, zone), sliding(policy))


def _after(policy: Rolling | Inactivity, on: date) -> date:
    return add_months(on, policy.months or 0) + timedelta(days=policy.days or 0)


def _next(policy: FixedDays, earliest: date) -> date:
    """The first of the policy's days from `earliest` on."""
    days = (day_of_year(day, year) for year in (earliest.year, earliest.year + 1) for day in policy.on)
    return min(day for day in days if day >= earliest)


def expiring(account: Account, lots: Iterable[Lot]) -> dict[datetime, int]:
    """What expires when: available points by the instant of their end; what has no end is left out.

    Needs: all open lots of an account, settled.
    """
    found: dict[datetime, int] = {}
    for lot in lots:
        if lot.available and (end := account.end_of(lot)) is not None:
            found[end] = found.get(end, 0) + lot.available
    return found


def _anniversary(policy: MemberYear, joined_on: date, earliest: date) -> date:
    """The first anniversary from `earliest` on; the day of joining itself is none."""
    between = (earliest.year - joined_on.year) * 12 + earliest.month - joined_on.month
    nth = max(1, between // policy.months)
    on = add_months(joined_on, nth * policy.months)
    return on if on >= earliest else add_months(joined_on, (nth + 1) * policy.months)


def last_day_on(expires_at: datetime, zone: ZoneInfo) -> date:
    """The last local date on which points that expire at `expires_at` are good."""
    return local_date(expires_at - timedelta(microseconds=1), zone)


# --- sliding --------------------------------------------------------------------------------------------------------


def sliding(policy: ExpiryPolicy) -> str | None:
    """What a lot issued by this policy keeps of it, so that it can slide by it; None: its dates hold."""
    return msgspec.json.encode(policy).decode() if isinstance(policy, Inactivity) else None


def stir(account: Account, entry: Entry, zone: ZoneInfo) -> bool:
    """Put the end of the account's sliding points off when `entry` is an activity; whether that changed it.

    The policy is that of the last lot issued to the account itself; while there is none, of the first it received.
    An end once given is never taken back. Needs: the account as the entry left it; `next_due_at` is the caller's.
    """
    for lot in entry.lots:
        if lot.slides is not None and (lot.parent_lot_id is None or account.slides is None):
            account.slides = lot.slides
    if account.slides is None:
        return False
    idles_at = idle_end(account.slides, entry.kind, entry.occurred_at, zone)
    if idles_at is None or (account.idles_at is not None and idles_at <= account.idles_at):
        return False
    account.idles_at = idles_at
    return True


def idle_end(slides: str, kind: EntryKind, occurred_at: datetime, zone: ZoneInfo) -> datetime | None:
    """Until when an entry keeps sliding points of a policy; None: it is no activity by it."""
    policy = _policy(slides)
    if ACTIVITIES.get(kind) not in policy.resets:
        return None
    return _dates(policy, 0, local_date(occurred_at, zone), zone, date.min).expires_at


@lru_cache(maxsize=1024)
def _policy(slides: str) -> Inactivity:
    return msgspec.json.decode(slides, type=Inactivity)
