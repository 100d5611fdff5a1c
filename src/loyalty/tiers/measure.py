"""What a ladder counts of a member's days, and which tier that reaches.

Pure. Source: docs/tiers.md, "What is counted".
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import date
from itertools import accumulate

from loyalty.tiers.types import (
    Day,
    DistinctDays,
    Invitation,
    Metric,
    QualifyingPoints,
    Spend,
    TenureMonths,
    TierSet,
    Visits,
)
from loyalty.tiers.windows import months_between


def of_day(metric: Metric, day: Day) -> int:
    """What one day counts; what was given back is gone from it already, and it is never below zero."""
    match metric:
        case QualifyingPoints(points_currency=code):
            return max(0, day.points.get(code, 0))
        case Spend():
            return max(0, day.spend_minor)
        case Visits():
            return max(0, day.visits)
        case DistinctDays():
            return int(day.visits > 0)
        case TenureMonths() | Invitation():
            return 0


class Tally:
    """What a ladder counts of a member, ready to be asked for many windows."""

    def __init__(self, metric: Metric, days: Sequence[Day], joined_on: date) -> None:
        self._tenure = isinstance(metric, TenureMonths)
        self._joined_on = joined_on
        counted = sorted((day.on, figure) for day in days if (figure := of_day(metric, day)))
        self.dates = [on for on, _ in counted]
        self._sums = list(accumulate((figure for _, figure in counted), initial=0))

    def between(self, first: date, last: date) -> int:
        """What is counted from one day to another, both inside."""
        if self._tenure:
            return max(0, months_between(self._joined_on, last))
        until = bisect_right(self.dates, last)
        return self._sums[until] - self._sums[min(until, bisect_left(self.dates, first))]


def reached(ladder: TierSet, figure: int) -> int:
    """The place of the highest tier whose threshold the figure meets, 0 the lowest; -1: none."""
    if isinstance(ladder.metric, Invitation):
        return -1
    return sum(tier.threshold <= figure for tier in ladder.tiers) - 1


def place(ladder: TierSet, tier: str | None) -> int:
    """The place of a tier on its ladder; -1: none, or one that is no longer there."""
    return next((n for n, one in enumerate(ladder.tiers) if one.id == tier), -1)


def at(ladder: TierSet, n: int) -> str | None:
    """The tier at a place."""
    return ladder.tiers[n].id if n >= 0 else None
