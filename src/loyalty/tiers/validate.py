"""Whether ladders can be published: their own contradictions, all named at once.

Pure. JSON pointers begin at the list of tier sets.
"""

from collections.abc import Iterator, Mapping, Sequence

from loyalty.base.errors import Fault
from loyalty.tiers.types import (
    Anniversary,
    Calendar,
    Invitation,
    Lifetime,
    QualifyingPoints,
    RollingWindow,
    TenureMonths,
    TierSet,
)


def faults(ladders: Sequence[TierSet], points_currencies: Mapping[str, bool]) -> Iterator[Fault]:
    """Every contradiction; none when the ladders may be published together.

    Needs: the program's points currencies, and of each whether it is qualifying.
    """
    for index, ladder in enumerate(ladders):
        if ladder.id in [other.id for other in ladders[:index]]:
            yield Fault(f"/{index}/id", "duplicate", "The tier set is named twice.")
        for fault in _faults(ladder, points_currencies):
            yield Fault(f"/{index}{fault.pointer}", fault.code, fault.detail)


def _faults(ladder: TierSet, points_currencies: Mapping[str, bool]) -> Iterator[Fault]:
    match ladder.metric:
        case QualifyingPoints(points_currency=code) if code not in points_currencies:
            yield Fault("/metric/points_currency", "unknown_points_currency", f"There are no points {code}.")
        case QualifyingPoints(points_currency=code) if not points_currencies[code]:
            message = f"{code} are not `qualifying`: they count towards no tier."
            yield Fault("/metric/points_currency", "not_qualifying", message)
        case TenureMonths() if ladder.grace_days or ladder.downgrade == "one_level":
            yield Fault("/downgrade", "contradictory_range", "Time since joining never falls.")
        case _:
            pass
    in_windows = isinstance(ladder.period, Calendar | Anniversary)
    match ladder.period:
        case RollingWindow(months=months, days=days) if (months is None) == (days is None):
            yield Fault("/period", "contradictory_range", "Give either days or months.")
        case RollingWindow() | Lifetime() if ladder.downgrade == "one_level":
            yield Fault(
                "/downgrade", "contradictory_range", "A tier falls level by level only where periods end."
            )
        case Calendar(lasts=0) | Anniversary(lasts=0) if ladder.upgrade == "at_review":
            yield Fault(
                "/period/lasts", "contradictory_range", "What is reached at a period's end must outlast it."
            )
        case _:
            pass
    for n, tier in enumerate(ladder.tiers):
        at = f"/tiers/{n}"
        if tier.id in [other.id for other in ladder.tiers[:n]]:
            yield Fault(f"{at}/id", "duplicate", "The tier is named twice.")
        if (
            n
            and tier.threshold <= ladder.tiers[n - 1].threshold
            and not isinstance(ladder.metric, Invitation)
        ):
            yield Fault(
                f"{at}/threshold", "contradictory_range", "Each tier asks for more than the one below it."
            )
        if tier.lifetime_after is not None and not in_windows:
            yield Fault(f"{at}/lifetime_after", "contradictory_range", "Only periods that end come in a row.")
