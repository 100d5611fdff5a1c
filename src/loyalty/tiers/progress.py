"""What a member is told of a ladder: how far the next tier is, what keeps the present one, what comes by itself.

Pure. Source: docs/tiers.md, "Progress".
"""

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from zoneinfo import ZoneInfo

from msgspec import Struct

from loyalty.base.calendar import local_date
from loyalty.tiers.measure import place
from loyalty.tiers.review import effective, figure, review
from loyalty.tiers.types import Anniversary, Calendar, Day, Invitation, Move, Standing, TierSet
from loyalty.tiers.windows import window


class Progress(Struct, frozen=True):
    metric: int  # counted so far in the present window
    until: date | None  # its last day; None: it has none
    next_tier: str | None  # None: there is none above
    missing: int  # of the metric to the next tier
    to_keep: (
        int  # of the metric that would carry the present tier anew; 0: it does, or the tier stays for ever
    )


def progress(
    ladder: TierSet, standing: Standing, days: Sequence[Day], now: datetime, zone: ZoneInfo
) -> Progress:
    """How far a member is on a ladder. Needs: reviewed up to `now`."""
    on = local_date(now, zone)
    counted = figure(ladder, standing, days, now, zone)
    until = None
    if isinstance(ladder.period, Calendar | Anniversary):
        until = window(ladder.period, standing.joined_on, on).last
    held = place(ladder, effective(ladder, standing))
    given, kept = standing.manual, place(ladder, standing.lifetime)
    if given is not None and given.until is None:
        kept = max(kept, place(ladder, given.tier))
    for_ever = held <= kept or isinstance(ladder.metric, Invitation)  # also of whoever has none
    above = ladder.tiers[held + 1] if held + 1 < len(ladder.tiers) else None
    return Progress(
        metric=counted,
        until=until,
        next_tier=None if above is None else above.id,
        missing=0 if above is None else max(0, above.threshold - counted),
        to_keep=0 if for_ever else max(0, ladder.tiers[held].threshold - counted),
    )


def projection(
    ladder: TierSet, standing: Standing, days: Sequence[Day], now: datetime, zone: ZoneInfo, until: datetime
) -> Iterator[Move]:
    """What will happen on the ladder by itself, if nothing more is done, in order of time.

    Needs: reviewed up to `now`.
    """
    while standing.next_review_at is not None and now < standing.next_review_at <= until:
        now = standing.next_review_at
        standing, moves = review(ladder, standing, days, now, zone)
        yield from moves
