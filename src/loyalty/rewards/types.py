"""The rewards' words: what members may have for their points, what a redemption is, and its refusals.

The catalogue is a part of the published configuration; docs/rewards.md tells it to whoever writes one.
"""

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar
from uuid import UUID

from msgspec import Meta, Struct

from loyalty.base.calendar import CapPeriod
from loyalty.base.errors import Conflict, NotFound, Refused
from loyalty.conditions.types import Condition

QUANTITY_MAX = 1_000
STOCK_MAX = 10**9


class RewardKind(StrEnum):
    """What a member gets; it decides nothing, whoever hands it over reads it."""

    PRODUCT = "product"
    VOUCHER = "voucher"
    DISCOUNT = "discount"
    DONATION = "donation"
    SERVICE = "service"
    STATUS = "status"


class MemberLimit(Struct, frozen=True, forbid_unknown_fields=True):
    """At most `quantity` of a reward for one member in one program-local period."""

    quantity: Annotated[int, Meta(ge=1, le=1_000_000)]
    period: CapPeriod


class Reward(Struct, frozen=True, forbid_unknown_fields=True):
    """One thing of the catalogue and its price."""

    id: Annotated[str, Meta(pattern="^[a-z][a-z0-9_-]{0,63}$")]
    name: Annotated[str, Meta(min_length=1, max_length=120)]
    kind: RewardKind
    points_currency: str
    points: Annotated[int, Meta(ge=1, le=10**12)]  # the price of one
    money_minor: Annotated[int, Meta(ge=0, le=10**12)] = 0  # paid besides, for one
    from_on: date | None = None  # program-local dates, both inside
    to_on: date | None = None
    visible: bool = True  # in the list; one that is not can be had by whoever knows its id
    stocked: bool = False  # only as many as the stock holds
    member_limit: MemberLimit | None = None
    quantity_max: Annotated[int, Meta(ge=1, le=QUANTITY_MAX)] = 10  # in one redemption
    when: Condition | None = None  # who may have it, when and where
    returnable: bool = False  # may still be cancelled once it was handed over


Catalogue = Annotated[tuple[Reward, ...], Meta(max_length=1_000)]


class RedemptionState(StrEnum):
    ISSUED = "issued"  # the points are taken, the thing is not handed over yet
    FULFILLED = "fulfilled"
    CANCELLED = "cancelled"  # the points are given back


class Redemption(Struct, frozen=True):
    """A member's points turned into something: a reward, or a part of what a purchase costs."""

    id: UUID
    member_id: UUID
    reward: str | None  # None: points as a means of payment
    quantity: int
    points_currency: str
    points: int
    money_minor: int  # of a reward what is paid besides; else what the points pay
    priced_by: int  # number of the configuration
    parts: tuple[tuple[UUID, int], ...]  # lots and how much each gave
    location: str | None
    channel: str | None
    till: str | None
    reference: str | None  # the caller's own number
    state: RedemptionState
    redeemed_at: datetime
    changed_at: datetime
    decision_id: UUID
    entry_id: UUID  # that took the points
    changed_by: UUID  # the decision that brought about the present state


class Reason(Struct, frozen=True):
    """Why a member cannot have a reward: a stable word and the figures compared."""

    reason: str
    detail: dict[str, Any]


class RewardNotFound(NotFound):
    code: ClassVar[str] = "reward_not_found"
    title: ClassVar[str] = "There is no such reward."
    remedy: ClassVar[str] = "Take the `id` of a reward that is in the catalogue now (`GET /v1/rewards`)."


class RedemptionNotFound(NotFound):
    code: ClassVar[str] = "redemption_not_found"
    title: ClassVar[str] = "There is no such redemption."
    remedy: ClassVar[str] = (
        "Take an id from `GET /v1/members/{member}/redemptions`, with a key of the redemption's location."
    )


class RewardUnavailable(Conflict):
    code: ClassVar[str] = "reward_unavailable"
    title: ClassVar[str] = "The member cannot have this reward now; reasons say why."
    remedy: ClassVar[str] = (
        "Tell the member the `reasons`; what can be had instead is in `GET /v1/rewards` with `member`."
    )


class RedemptionCancelled(Conflict):
    code: ClassVar[str] = "redemption_cancelled"
    title: ClassVar[str] = "The redemption was cancelled."
    remedy: ClassVar[str] = "Redeem anew if it is handed over after all (`POST /v1/redemptions`)."


class NotReturnable(Conflict):
    code: ClassVar[str] = "not_returnable"
    title: ClassVar[str] = "It was handed over and is not taken back."
    remedy: ClassVar[str] = (
        "Leave it as it is; `returnable` of the reward, or of `pay`, lets later ones be cancelled."
    )


class StockNotKept(Conflict):
    code: ClassVar[str] = "stock_not_kept"
    title: ClassVar[str] = "No stock is kept of this reward."
    remedy: ClassVar[str] = "Publish the reward with `stocked` set to true, then set its stock."


class StockOutOfRange(Conflict):
    code: ClassVar[str] = "stock_out_of_range"
    title: ClassVar[str] = "The stock would fall below what is set aside of it, or rise above what is kept."
    remedy: ClassVar[str] = (
        "Keep the stock from `reserved` to `stock_max`, and release holds of the reward to go lower."
    )


class DayLimitReached(Conflict):
    code: ClassVar[str] = "day_limit_reached"
    title: ClassVar[str] = "The member has paid with as many points today as the program allows."
    remedy: ClassVar[str] = "Pay with no more points than `day_max` less `used`, or wait until `until`."


class QuantityTooLarge(Refused):
    code: ClassVar[str] = "quantity_too_large"
    title: ClassVar[str] = "More of this reward than one redemption may take."
    remedy: ClassVar[str] = "Take `quantity_max` at most, and the rest in a further redemption."


class PaymentNotOffered(Refused):
    code: ClassVar[str] = "payment_not_offered"
    title: ClassVar[str] = "Nothing can be paid with these points."
    remedy: ClassVar[str] = "Name a points currency that has the setting `pay`, or publish one for this."


class PointsBelowMinimum(Refused):
    code: ClassVar[str] = "points_below_minimum"
    title: ClassVar[str] = "Fewer points than a payment must have."
    remedy: ClassVar[str] = "Pay with `points_min` points at least, or all in money."


class PointsAboveMaximum(Refused):
    code: ClassVar[str] = "points_above_maximum"
    title: ClassVar[str] = "More points than one payment may have."
    remedy: ClassVar[str] = "Pay with `points_max` points at most, and the rest in money."


class PointsNotInStep(Refused):
    code: ClassVar[str] = "points_not_in_step"
    title: ClassVar[str] = "Payments rise in steps, and this is between two of them."
    remedy: ClassVar[str] = "Pay with a multiple of `step`: the next one below is `lower`."
