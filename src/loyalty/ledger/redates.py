"""Which lots get another end when a points currency's policy was changed, and what that comes to.

When points become available is left alone. Source: docs/expiry.md.
"""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from msgspec import Struct, field
from msgspec.structs import replace

from loyalty.ledger.expiry import dates, last_day_on
from loyalty.ledger.types import Lot
from loyalty.programs.types import Inactivity, PointsCurrency

NewDates = tuple[datetime | None, datetime | None]  # activates, expires

NEVER = "never"  # in place of a month


class Count(Struct):
    lots: int = 0
    points: int = 0


class Figures(Struct):
    """What new ends come to: points still with members, by the month of their last day, old and new (2026-12)."""

    members: int = 0
    lots: int = 0
    points: int = 0
    expiring: int = 0  # points that would expire at once
    expiring_members: int = 0  # who have them
    months: dict[str, dict[str, Count]] = field(default_factory=dict[str, dict[str, Count]])

    def add(
        self, lots: Mapping[UUID, Lot], new_dates: Mapping[UUID, NewDates], now: datetime, zone: ZoneInfo
    ) -> None:
        """Count the new ends of one member's lots. Needs: at least one of them."""
        self.members += 1
        expiring = self.expiring
        for id, (_, end) in new_dates.items():
            lot = lots[id]
            points = lot.pending + lot.available + lot.held
            self.lots += 1
            self.points += points
            if end is not None and end <= now:
                self.expiring += lot.available
            to = self.months.setdefault(_month(lot.expires_at, zone), {})
            count = to.setdefault(_month(end, zone), Count())
            count.lots += 1
            count.points += points
        self.expiring_members += self.expiring > expiring

    def ordered(self) -> "Figures":
        """The same with the months one behind the other, `never` last."""
        months = {old: dict(sorted(new.items())) for old, new in sorted(self.months.items())}
        return replace(self, months=months)


def redated(
    lot: Lot,
    issued: PointsCurrency,
    since: Iterable[PointsCurrency],
    after: PointsCurrency,
    zone: ZoneInfo,
    joined_on: date,
) -> NewDates | None:
    """The lot's dates (activates, expires) by the policy `after`; None: it keeps its own.

    `issued`: the policy by which it was issued; `since`: those that came in force later, for a lot may have been
    redated before. Only a lot with dates which these gave is changed: what was imported with its own, reinstated, or
    given terms of its own stays. So does a lot that is pending until its new end or later: it would be over before
    it is good. Points neither begin to slide nor cease to.
    """
    if lot.slides or isinstance(after.expiry, Inactivity):
        return None
    activates_at, first_end, _ = dates(issued.expiry, issued.pending_days, lot.vintage_at, zone, joined_on)
    if lot.activates_at != activates_at:
        return None
    end = _end(after, lot, zone, joined_on)
    given = lot.expires_at == first_end or any(
        lot.expires_at == _end(one, lot, zone, joined_on) for one in since
    )
    if lot.expires_at == end or not given:
        return None
    if lot.pending and end is not None and lot.activates_at is not None and end <= lot.activates_at:
        return None
    return lot.activates_at, end


def _end(policy: PointsCurrency, lot: Lot, zone: ZoneInfo, joined_on: date) -> datetime | None:
    return dates(policy.expiry, 0, lot.vintage_at, zone, joined_on).expires_at


def _month(end: datetime | None, zone: ZoneInfo) -> str:
    return NEVER if end is None else f"{last_day_on(end, zone):%Y-%m}"
