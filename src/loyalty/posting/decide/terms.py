"""By which terms points are awarded: a rule's word goes before that of a tier, a tier's before the points currency's.

Awards of one purchase that come and end at the same instants share a lot. Source: docs/ledger.md, "Dates".
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime

from loyalty.ledger.expiry import Dates, dates
from loyalty.posting.configuration import Loaded
from loyalty.programs.types import DatingPolicy
from loyalty.rules.types import Award

Tiers = Mapping[str, Sequence[str]]  # by tier set, those up to the member's own


def by_lot(
    awards: Sequence[Award], judged_by: Loaded, occurred_at: datetime, joined_on: date, tiers: Tiers
) -> tuple[dict[tuple[str, Dates], int], tuple[int, ...]]:
    """The points of each lot, by points currency and dates in the order of first award; of each award, its lot."""
    known: dict[tuple[str, str | None], tuple[str, Dates]] = {}
    points: dict[tuple[str, Dates], int] = {}
    places: list[tuple[str, Dates]] = []
    for award in awards:
        code = award.points_currency
        rule = award.rule_id if award.rule_id in judged_by.terms else None
        lot = known.get((code, rule))
        if lot is None:
            lot = known[code, rule] = code, _dates(code, rule, judged_by, occurred_at, joined_on, tiers)
        points[lot] = points.get(lot, 0) + award.points
        places.append(lot)
    if len(points) == len({code for code, _ in points}):
        return points, ()
    order = {lot: place for place, lot in enumerate(points)}
    return points, tuple(order[lot] for lot in places)


def _dates(
    code: str, rule: str | None, judged_by: Loaded, occurred_at: datetime, joined_on: date, tiers: Tiers
) -> Dates:
    currency = judged_by.currencies[code]
    expiry, pending_days = of_tiers(code, judged_by, tiers) or currency.expiry, currency.pending_days
    if rule is not None:
        own = judged_by.terms[rule]
        expiry = own.expiry or expiry
        pending_days = pending_days if own.pending_days is None else own.pending_days
    return dates(expiry, pending_days, occurred_at, judged_by.zone, joined_on)


def of_tiers(code: str, judged_by: Loaded, tiers: Tiers) -> DatingPolicy | None:
    """What the member's tiers say of a points currency: the first ladder that does, of it the highest tier."""
    for tier_set, ladder in judged_by.ladders.items():
        held = tiers.get(tier_set, ())
        for tier in reversed(ladder.tiers):
            if tier.id in held and code in tier.expiry:
                return tier.expiry[code]
    return None
