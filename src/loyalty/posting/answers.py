"""The answers of the commands, as stored with their decision and sent byte for byte, first time and replayed.

Ids and figures only, no personal data: an answer outlives the erasure of its member.
"""

from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct


class Earned(Struct, frozen=True):
    """Points of one points currency that a purchase, claim, credit or import gave."""

    points_currency: str
    points: int
    state: Literal["pending", "available", "expired"]
    activates_at: datetime | None
    expires_at: datetime | None
    last_day_on: date | None  # program-local: the last day on which the points are good
    entry_id: UUID
    lot_id: UUID


class Balance(Struct, frozen=True):
    """What an account holds after the command, settled at its recorded instant."""

    points_currency: str
    available: int
    pending: int
    held: int
    debt: int


class Receipt(Struct, frozen=True):
    lines: tuple[str, ...]


class StandingAnswer(Struct, frozen=True):
    """Where a member stands on one ladder, and how far the next tier is."""

    tier_set: str
    tier: Annotated[str | None, Meta(description="Null: none of this ladder.")]
    since: Annotated[datetime | None, Meta(description="Since when the tier counts, by the books.")]
    counted: Annotated[
        int,
        Meta(description="So far in the present window: points, minor units, purchases, days or months."),
    ]
    window_ends_on: Annotated[
        date | None,
        Meta(description="Last day of the window; null: it moves with every day, or never ends."),
    ]
    next_tier: Annotated[str | None, Meta(description="Null: there is none above.")]
    missing: Annotated[int, Meta(description="To the next tier.")]
    to_keep: Annotated[
        int,
        Meta(description="What would carry the present tier anew; 0: it does, or the tier stays for ever."),
    ]


class Captured(Struct, frozen=True):
    """What a purchase or a redemption took of one hold, and what became of the rest of it."""

    hold_id: UUID
    points_currency: str
    points: int
    released: int  # of the rest, given back
    expired: int  # of the rest, over since the points were set aside


class PurchaseAnswer(Struct, frozen=True):
    id: UUID
    status: Literal["recorded"]
    member_id: UUID | None
    earned: tuple[Earned, ...]
    balances: tuple[Balance, ...]
    standing: tuple[StandingAnswer, ...]
    receipt: Receipt
    ruleset_version: int
    recorded_at: datetime
    decision_id: UUID
    captured: tuple[Captured, ...] = ()


class QuotedPoints(Struct, frozen=True):
    points_currency: str
    points: int
    state: Literal["pending", "available", "expired"]
    activates_at: datetime | None
    expires_at: datetime | None
    last_day_on: date | None


class QuoteAnswer(Struct, frozen=True):
    """What a purchase would earn now; nothing was written."""

    member_id: UUID | None
    earned: tuple[QuotedPoints, ...]
    balances: tuple[Balance, ...]  # as they would be after it
    standing: tuple[StandingAnswer, ...]
    receipt: Receipt
    ruleset_version: int
    captured: tuple[Captured, ...] = ()


class Revoked(Struct, frozen=True):
    """Points taken back by an undo; `forgiven` were spent and are not claimed back."""

    points_currency: str
    points: int
    forgiven: int
    debt: int  # what the account owes afterwards


class Restored(Struct, frozen=True):
    """Points that a purchase had spent, given back to the lots they came from."""

    points_currency: str
    points: int
    expired: int  # of them, those whose end had come meanwhile: lost
    reinstated: int = 0  # of them, those whose end had come meanwhile and that got a new one


class ReturnAnswer(Struct, frozen=True):
    id: UUID  # of the return
    status: Literal["returned"]
    purchase_id: UUID | None  # null: a purchase never seen
    member_id: UUID | None
    amount_minor: int | None  # what was paid for what goes back, by quantity; null with a purchase never seen
    complete: bool  # nothing of the purchase is left
    revoked: tuple[Revoked, ...]
    restored: tuple[Restored, ...]
    balances: tuple[Balance, ...]
    receipt: Receipt
    recorded_at: datetime
    decision_id: UUID


class ExchangeAnswer(Struct, frozen=True):
    """The answers that the two would have had alone, one after the other."""

    returned: ReturnAnswer
    purchase: PurchaseAnswer
    decision_id: UUID


class CancelAnswer(Struct, frozen=True):
    id: UUID  # of the purchase; of the remembered cancel when the purchase never arrived
    status: Literal["cancelled"]
    member_id: UUID | None
    revoked: tuple[Revoked, ...]
    balances: tuple[Balance, ...]
    receipt: Receipt
    recorded_at: datetime
    decision_id: UUID
    restored: tuple[Restored, ...] = ()


class MemberAnswer(Struct, frozen=True):
    """A member by id alone: what else is known of a person is read, never stored with an answer."""

    id: UUID
    status: str
    enrolled_at: datetime
    decision_id: UUID


class AdjustmentAnswer(Struct, frozen=True):
    id: UUID
    member_id: UUID
    points_currency: str
    points: int  # as asked: credit above zero, debit below
    reason: str
    reference: str | None
    earned: tuple[Earned, ...]
    balances: tuple[Balance, ...]
    recorded_at: datetime
    decision_id: UUID


class ProposalAnswer(Struct, frozen=True):
    """A proposal as the command left it; what was earned and the balances are there once it is approved."""

    id: UUID
    kind: Literal["adjustment", "write_off", "reinstatement"]
    state: Literal["proposed", "approved", "rejected"]
    member_id: UUID
    points_currency: str
    points: int
    reason: str
    reference: str | None
    lapses_at: datetime
    earned: tuple[Earned, ...]
    balances: tuple[Balance, ...]
    recorded_at: datetime
    decision_id: UUID


class ReinstatementAnswer(Struct, frozen=True):
    """Expired points that are good again, at least to their new last day."""

    id: UUID
    member_id: UUID
    points_currency: str
    points: int
    reason: str
    reference: str | None
    expires_at: datetime
    last_day_on: date
    balances: tuple[Balance, ...]
    recorded_at: datetime
    decision_id: UUID


class TransferAnswer(Struct, frozen=True):
    """The giver's side; what the taker holds is the taker's own."""

    id: UUID
    giver_id: UUID
    taker_id: UUID
    points_currency: str
    points: int  # what the taker received
    fee: int  # what it cost the giver beside them
    balances: tuple[Balance, ...]  # the giver's
    recorded_at: datetime
    decision_id: UUID


class FreezeAnswer(Struct, frozen=True):
    member_id: UUID
    points_currency: str
    frozen: bool
    reason: str
    since: datetime
    decision_id: UUID


class GivenTier(Struct, frozen=True):
    """A tier by hand; it holds until its end, null: until it is taken back."""

    tier: str
    given_at: datetime
    until: datetime | None
    reason: str


class TierAnswer(Struct, frozen=True):
    """Where the member stands after a tier was given or taken back."""

    member_id: UUID
    standing: StandingAnswer
    given: GivenTier | None
    recorded_at: datetime
    decision_id: UUID


class AttemptAnswer(Struct, frozen=True):
    """What a refused attempt met: the limit, what was used of it, and until when it holds."""

    limit: str
    points_currency: str
    wanted: int
    maximum: int
    used: int
    until: datetime


class WrongPinAnswer(Struct, frozen=True):
    """What a wrong PIN left: further attempts, or the instant until which none is taken."""

    attempts_left: int
    until: datetime | None


class ImportAnswer(Struct, frozen=True):
    id: UUID
    member_id: UUID
    earned: tuple[Earned, ...]
    balances: tuple[Balance, ...]
    recorded_at: datetime
    decision_id: UUID


class SettledAnswer(Struct, frozen=True):
    """What is there once all that had fallen due is written."""

    member_id: UUID
    balances: tuple[Balance, ...]
    recorded_at: datetime
    decision_id: UUID


class RedatedAnswer(Struct, frozen=True):
    """Lots of a member that got other ends."""

    member_id: UUID
    points_currency: str
    lots: int
    points: int
    expired: int  # of them: over by their new ends
    balances: tuple[Balance, ...]
    recorded_at: datetime
    decision_id: UUID


class NotifiedAnswer(Struct, frozen=True):
    """How many notices a member was given."""

    member_id: UUID
    notices: int
    recorded_at: datetime
    decision_id: UUID


class HoldAnswer(Struct, frozen=True):
    """A hold as the command left it, what the command moved, and the balances after it."""

    id: UUID
    state: Literal["open", "captured", "released", "lapsed"]
    member_id: UUID
    points_currency: str
    points: int  # set aside at first
    held: int  # still held
    captured: int  # taken so far
    held_at: datetime
    lapses_at: datetime
    ended_at: datetime | None
    taken: int  # by this command
    released: int  # given back by this command, or by the lapse that it found due
    expired: int  # over since they were set aside: they did not come back
    balances: tuple[Balance, ...]
    receipt: Receipt
    recorded_at: datetime
    decision_id: UUID
    reward: str | None = None  # null: plain points
    quantity: int | None = None  # of the reward, set aside with its points


class RedemptionAnswer(Struct, frozen=True):
    """A member's points turned into something."""

    id: UUID
    status: Literal["issued"]
    member_id: UUID
    reward: str | None  # null: points as a means of payment
    quantity: int
    points_currency: str
    points: int
    money_minor: int  # of a reward what is to be paid besides; else what the points pay
    money: str
    balances: tuple[Balance, ...]
    receipt: Receipt
    configuration: int  # number of the one that priced it
    recorded_at: datetime
    decision_id: UUID
    captured: Captured | None = None  # where the points come from a hold


class FulfilledAnswer(Struct, frozen=True):
    id: UUID
    status: Literal["fulfilled"]
    member_id: UUID
    recorded_at: datetime
    decision_id: UUID


class ReturnedAnswer(Struct, frozen=True):
    """A cancelled redemption: where its points went."""

    id: UUID
    status: Literal["cancelled"]
    member_id: UUID
    points_currency: str
    points: int  # given back to the lots they came from
    expired: int  # of these, whose lots had ended meanwhile: lost
    reinstated: int  # of these, whose lots had ended meanwhile and got a new end
    balances: tuple[Balance, ...]
    receipt: Receipt
    recorded_at: datetime
    decision_id: UUID


class StockAnswer(Struct, frozen=True):
    reward: str
    stock: int  # how many there are now, those that are set aside among them
    change: int
    reason: str
    recorded_at: datetime
    decision_id: UUID
    reserved: int = 0  # of them, how many are set aside


class PublishedAnswer(Struct, frozen=True):
    number: int
    effective_at: datetime
    ruleset_version: int
    decision_id: UUID


class MoveAnswer(Struct, frozen=True):
    """The run that moves a clock: it is over when the clock stands at `to`."""

    id: UUID
    kind: Literal["clock"]
    state: Literal["queued"]
    now: datetime
    to: datetime
    decision_id: UUID


class ClockAnswer(Struct, frozen=True):
    now: datetime
    decision_id: UUID


class DayAnswer(Struct, frozen=True):
    closed_on: date
    recorded_at: datetime
    decision_id: UUID
