"""What a ladder counts of a member's days, and which tier that reaches.

Pure. Source: docs/tiers.md, "What is counted".
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from datetime import date
from itertools import accumulate
from operator import attrgetter

from loyalty.tiers.types import (
    FIGURE_MAX,
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

_THRESHOLD = attrgetter("threshold")  # each tier asks for more than the one below it


def _of_days(metric: Metric, days: Iterable[Day]) -> list[tuple[date, int]]:
    """What each day counts; what was given back is gone from it already, and below zero it is nothing."""
    match metric:
        case QualifyingPoints(points_currency=code):
            return [(day.on, day.points.get(code, 0)) for day in days]
        case Spend():
            return [(day.on, day.spend_minor) for day in days]
        case Visits():
            return [(day.on, day.visits) for day in days]
        case DistinctDays():
            return [(day.on, int(day.visits > 0)) for day in days]
        case TenureMonths() | Invitation():
            return []


class Tally:
    """What a ladder counts of a member, ready to be asked for many windows."""

    def __init__(self, metric: Metric, days: Iterable[Day], joined_on: date) -> None:
        self._tenure = isinstance(metric, TenureMonths)
        self._joined_on = joined_on
        self.counted = sorted(one for one in _of_days(metric, days) if one[1] > 0)
        self.dates = [on for on, _ in self.counted]
        self._sums = list(accumulate((figure for _, figure in self.counted), initial=0))

    def between(self, first: date, last: date) -> int:
        """What is counted from one day to another, both inside, as far as it can be told exactly."""
        if self._tenure:
            return max(0, months_between(self._joined_on, last))
        until = bisect_right(self.dates, last)
        counted = self._sums[until] - self._sums[min(until, bisect_left(self.dates, first))]
        return min(counted, FIGURE_MAX)

    def climbs(self, ladder: TierSet, first: date, last: date) -> Iterator[tuple[date, int]]:
        """The days from one to another on which what is counted from the first on meets the threshold of a tier, each
        with the place of the tier; without those whose threshold is nothing.
        """
        start, end = bisect_left(self.dates, first), bisect_right(self.dates, last)
        for n, tier in enumerate(ladder.tiers):
            met = bisect_left(self._sums, self._sums[start] + tier.threshold, start, end + 1)
            if met > end:
                return
            if met > start:
                yield self.dates[met - 1], n

    def needed(self, threshold: int) -> date | None:
        """The last day without which the days behind it do not meet a threshold; None: nothing is needed for it."""
        behind = bisect_right(self._sums, self._sums[-1] - threshold)
        return self.dates[behind - 1] if 0 < behind <= len(self.dates) else None


def reached(ladder: TierSet, figure: int) -> int:
    """The place of the highest tier whose threshold the figure meets, 0 the lowest; -1: none."""
    if isinstance(ladder.metric, Invitation):
        return -1
    return bisect_right(ladder.tiers, figure, key=_THRESHOLD) - 1


def place(ladder: TierSet, tier: str | None) -> int:
    """The place of a tier on its ladder; -1: none, or one that is no longer there."""
    return next((n for n, one in enumerate(ladder.tiers) if one.id == tier), -1)


def at(ladder: TierSet, n: int) -> str | None:
    """The tier at a place."""
    return ladder.tiers[n].id if n >= 0 else None
