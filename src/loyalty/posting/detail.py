"""What a decision stores beside its entries: the figures used, the awards (the truth), the counters raised.

Ids and figures only: no personal data, and no lines of a purchase: those are content, which retention may remove;
its digest stays. A decision without rules stores its own small facts.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct

from loyalty.rules.types import Award
from loyalty.tiers.types import Manual, Move

# Kind of what a lane has of a decision that stands in another lane under the same id.
COUNTERPART = "counterpart"


class AwardedLot(Struct, frozen=True):
    """A lot that holds points of this decision: all of one points currency, or those of one pair of dates."""

    points_currency: str
    account_id: UUID
    lot_id: UUID
    points: int


class CapturedHold(Struct, frozen=True):
    """What a purchase took of a hold, lot by lot: undoing it gives the same points back to the same lots."""

    hold_id: UUID
    entry_id: UUID
    points_currency: str
    parts: tuple[tuple[UUID, int], ...]  # (lot, points)

    @property
    def points(self) -> int:
        return sum(points for _, points in self.parts)


class ReturnedPart(Struct, frozen=True):
    """What of a purchase one return took: a row of `returns`."""

    purchase_id: UUID
    amount_minor: int
    complete: bool  # nothing is left
    lines: tuple[
        tuple[int, int], ...
    ]  # position, units (returned.py); none: all that was left, lines unknown


class Redeemed(Struct, frozen=True, omit_defaults=True):
    """What a redemption took, and by which configuration it was priced."""

    id: UUID
    points_currency: str
    points: int
    priced_by: int
    entry_id: UUID
    parts: tuple[tuple[UUID, int], ...]  # lots and how much each gave
    reward: str | None = None
    quantity: int = 1
    money_minor: int = 0
    location: str | None = None
    channel: str | None = None
    till: str | None = None
    reference: str | None = None


class Received(Struct, frozen=True):
    """Points that came to another member than the one the decision is about."""

    owner_id: UUID
    points_currency: str
    account_id: UUID
    points: int


class Stood(Struct, frozen=True, omit_defaults=True):
    """Where the member stands on a ladder after the decision, as far as its days do not say it, and its steps."""

    tier_set: str
    judged_by: int  # number of the configuration whose ladder it is
    earned: str | None = None
    since: datetime | None = None
    lifetime: str | None = None
    manual: Manual | None = None
    falls_at: datetime | None = None
    moves: tuple[Move, ...] = ()


class Detail(Struct, frozen=True, omit_defaults=True):
    """Stored as JSON in `decisions.detail`."""

    content_sha256: str | None = None  # hex digest of what was told: stored content, or the row of an import
    named: str | None = None  # digest of the activity's source and external id
    enrolled: bool = False  # its member came with it
    basis: dict[str, tuple[int, ...]] = {}  # by points currency: minor units per line that could earn
    judged_by: int | None = None  # number of the configuration whose rules judged (in force at `occurred_at`)
    awards: tuple[Award, ...] = ()
    counted: tuple[tuple[str, str, int], ...] = ()  # rule id, period, points: cap counters raised
    used: tuple[tuple[UUID, str, str, int], ...] = ()  # whose, limit, period, points: other counters raised
    lots: tuple[AwardedLot, ...] = ()
    into: tuple[int, ...] = ()  # of each award, its place in `lots`; none: a points currency has one lot
    captured: tuple[CapturedHold, ...] = ()
    received: tuple[Received, ...] = ()
    undoes: UUID | None = None  # decision that this one undoes
    back: tuple[int, ...] = ()  # points taken of each of its awards, in their order
    given: tuple[int, ...] = ()  # points given back of each of its captured holds, in their order
    unmet: tuple[int, ...] = ()  # those of them that were taken whole because their conditions hold no more
    returned: ReturnedPart | None = None
    left: tuple[int, ...] = ()  # of a claim after returns: units per line that the basis and awards stand for
    part_of: UUID | None = None  # decision of the exchange that this one belongs to
    redemption: Redeemed | None = None
    stocked: tuple[tuple[str, int], ...] = ()  # rewards whose stock changed, and by how much
    tiers: dict[
        str, tuple[str, ...]
    ] = {}  # up to the member's own, by tier set: what the rules were judged by
    stood: tuple[Stood, ...] = ()
    counterpart_of: int | None = None  # cell of the decision of this id that tells what was decided
    note: dict[str, Any] = {}  # small facts of commands without rules

    def lot_of(self, index: int) -> AwardedLot:
        """The lot that one of its awards went to."""
        if self.into:
            return self.lots[self.into[index]]
        return next(lot for lot in self.lots if lot.points_currency == self.awards[index].points_currency)
