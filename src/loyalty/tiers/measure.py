"""What a ladder counts of a member's days, and which tier that reaches.

Pure. Source: docs/tiers.md, "What is counted".
"""

from collections.abc import Sequence
from datetime import date

from loyalty.tiers.types import (
    Day,
    DistinctDays,
    Invitation,
    Metric,
    QualifyingPoints,
    Spend,
    Tenure,
    TierSet,
    Visits,
)
from loyalty.tiers.windows import Window, months_between


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
        case Tenure() | Invitation():
            return 0


def measure(metric: Metric, days: Sequence[Day], window: Window, joined_on: date) -> int:
    """What is counted in a window up to its last day. Order of `days`: any."""
    match metric:
        case Tenure():
            return max(0, months_between(joined_on, window.last))
        case Invitation():
            return 0
        case _:
            return sum(of_day(metric, day) for day in days if window.first <= day.on <= window.last)


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


def upto(window: Window, on: date) -> Window:
    """A window as far as it has come on a date."""
    return Window(window.first, min(window.last, on))
