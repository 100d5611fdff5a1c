"""What members can have for their points: the catalogue, redeeming, handing over, cancelling, and stocks.

A reward and a part payment are both redemptions: points leave at once, in spending order, and come back to their
own lots when the redemption is cancelled.
"""

from collections.abc import Callable
from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta, Struct

from loyalty.access.roles import Permission
from loyalty.base.database import reading
from loyalty.base.paging import InvalidCursor
from loyalty.ledger.types import (
    BalanceLimitExceeded,
    HoldCaptured,
    HoldLapsed,
    HoldNotFound,
    HoldReleased,
    InsufficientPoints,
    LotsLimitExceeded,
)
from loyalty.members.cells import cell_of
from loyalty.members.service import resolve
from loyalty.members.types import IdentifierInvalid, MemberBlocked, MemberErased, MemberNotFound
from loyalty.posting.answers import FulfilledAnswer, RedemptionAnswer, ReturnedAnswer, StockAnswer
from loyalty.posting.catalogue import Shown, catalogue
from loyalty.posting.commands import (
    Answer,
    CancelRedemption,
    ChangeStock,
    FulfilRedemption,
    MemberRef,
    PayWithPoints,
    Place,
    Redeem,
)
from loyalty.posting.types import (
    AccountFrozen,
    HoldForReward,
    HoldOfAnotherMember,
    PinChanged,
    PinLocked,
    PinRequired,
    PinWrong,
    PointsCurrencyUnknown,
    SpendingLimit,
)
from loyalty.rewards import store
from loyalty.rewards.types import (
    DayLimitReached,
    MemberLimit,
    NotReturnable,
    PaymentNotOffered,
    PointsAboveMaximum,
    PointsBelowMinimum,
    PointsNotInStep,
    QuantityTooLarge,
    Reason,
    Redemption,
    RedemptionCancelled,
    RedemptionNotFound,
    RedemptionState,
    Reward,
    RewardKind,
    RewardNotFound,
    RewardUnavailable,
    StockNotKept,
    StockOutOfRange,
)
from loyalty.web.api import wire
from loyalty.web.api.naming import named, referred
from loyalty.web.edge import Call, get, member_named, post, reply
from loyalty.web.pins import submit_with_pin
from loyalty.web.types import LocationNotAllowed

REWARDS = "/v1/rewards"
REDEMPTIONS = "/v1/redemptions"
REDEMPTION = "/v1/redemptions/{redemption}"

MemberText = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=600,
        description="A member's id, or `identifier:KIND:VALUE` such as `identifier:card:6035550001`.",
    ),
]


class CatalogueQuery(Struct, frozen=True):
    member: MemberText | None = None
    location: wire.Text | None = None
    channel: wire.Text | None = None
    limit: wire.Limit = 50
    cursor: wire.CursorText | None = None


class RewardQuery(Struct, frozen=True):
    member: MemberText | None = None
    location: wire.Text | None = None
    channel: wire.Text | None = None


class RewardView(Struct, frozen=True):
    """A reward; for a member whether it can be had now, and if not, every reason."""

    id: str
    name: str
    kind: RewardKind
    points_currency: str
    points: int
    money_minor: int  # paid besides
    from_on: date | None
    to_on: date | None
    visible: bool
    stock: int | None  # how many there are; null when no stock is kept
    reserved: int | None  # of these, how many are set aside for somebody
    member_limit: MemberLimit | None
    quantity_max: int  # in one redemption
    returnable: bool
    available: bool | None  # null when no member was named
    reasons: tuple[Reason, ...] | None


class RewardPage(Struct, frozen=True):
    data: tuple[RewardView, ...]
    next_cursor: str | None


class RedeemedPart(Struct, frozen=True):
    """What one lot gave."""

    lot_id: UUID
    points: int


class RedemptionView(Struct, frozen=True):
    """A redemption as it stands."""

    id: UUID
    status: RedemptionState
    member_id: UUID
    reward: str | None  # null: points as a means of payment
    quantity: int
    points_currency: str
    points: int
    money_minor: int  # of a reward what is paid besides; else what the points pay
    parts: tuple[RedeemedPart, ...]
    location: str | None
    channel: str | None
    till: str | None
    reference: str | None
    configuration: int  # number of the one that priced it
    redeemed_at: datetime
    changed_at: datetime
    decision_id: UUID  # that took the points
    entry_id: UUID  # the ledger's record of it
    changed_by: UUID  # the decision that brought about the present state


class RedemptionPage(Struct, frozen=True):
    data: tuple[RedemptionView, ...]
    next_cursor: str | None


@get(
    REWARDS,
    Permission.REWARD_READ,
    answers={200: RewardPage},
    refusals=(MemberNotFound, MemberErased, IdentifierInvalid, InvalidCursor),
)
async def list_rewards(call: Call, query: CatalogueQuery) -> Answer:
    """What members can have for their points, in the order of the catalogue.

    With `member`: whether that member can have each of them now, at this `location` and in this `channel`, and if not,
    every reason with what is missing. Rewards that are not visible are left out.
    """
    filters = (query.member, query.location, query.channel)
    start = call.page_start(query.cursor, *filters)
    place = Place(wire.location_of(query.location), query.channel)
    shown = await _shown(call, lambda reward: reward.visible, query.member, place)
    first = 0 if start is None else start[0]
    views = [_view(one) for one in shown[first : first + query.limit]]
    if first + query.limit >= len(shown):
        return reply(RewardPage(tuple(views), None))
    return call.page_on(views, [first + query.limit], *filters)


@get(
    f"{REWARDS}/{{reward}}",
    Permission.REWARD_READ,
    answers={200: RewardView},
    refusals=(RewardNotFound, MemberNotFound, MemberErased, IdentifierInvalid),
)
async def read_reward(call: Call, reward: str, query: RewardQuery) -> Answer:
    """One reward, visible or not; with `member` whether that member can have it now, and if not, every reason."""
    place = Place(wire.location_of(query.location), query.channel)
    shown = await _shown(call, lambda one: one.id == reward, query.member, place)
    if not shown:
        raise RewardNotFound
    return reply(_view(shown[0]))


@post(
    f"{REWARDS}/{{reward}}/stock",
    Permission.STOCK_WRITE,
    keyed=True,
    answers={200: StockAnswer},
    refusals=(RewardNotFound, StockNotKept, StockOutOfRange),
)
async def change_stock(call: Call, reward: str, body: wire.StockBody) -> Answer:
    """Say how many of a reward there are, or how many come or go, and why. It never falls below zero."""
    return await call.submit(ChangeStock(reward, body.reason, body.set, body.add or 0))


@post(
    REDEMPTIONS,
    Permission.REDEEM,
    keyed=True,
    answers={201: RedemptionAnswer},
    refusals=(
        LocationNotAllowed,
        IdentifierInvalid,
        MemberNotFound,
        MemberBlocked,
        MemberErased,
        HoldNotFound,
        HoldOfAnotherMember,
        HoldLapsed,
        HoldCaptured,
        HoldReleased,
        HoldForReward,
        RewardNotFound,
        QuantityTooLarge,
        RewardUnavailable,
        PointsCurrencyUnknown,
        PaymentNotOffered,
        PointsBelowMinimum,
        PointsNotInStep,
        PointsAboveMaximum,
        DayLimitReached,
        AccountFrozen,
        InsufficientPoints,
        LotsLimitExceeded,
        BalanceLimitExceeded,
        SpendingLimit,
        PinLocked,
        PinRequired,
        PinChanged,
        PinWrong,
    ),
)
async def redeem(call: Call, body: wire.RedemptionBody) -> Answer:
    """Take a reward for points, or pay a part of a sale with points.

    The points leave at once, those that expire first. A reward that cannot be had is refused with every reason;
    when only points are missing, with `insufficient_points`. `money_minor` is what is to be paid besides for a reward,
    and what the points pay in a sale. With `hold` the points come out of that hold, and the rest of it is released; a
    reward that it set aside is had at the price of then.
    """
    location = wire.location_of(body.location)
    if not call.principal.at(location):
        raise LocationNotAllowed
    member = await referred(call, body.member)
    place = Place(location, body.channel, body.till, body.reference)
    if body.reward is not None:
        wanted = Redeem(member, body.reward, body.quantity, place, body.hold)
        return await submit_with_pin(call, wanted, member, body.pin)
    assert body.points_currency is not None
    assert body.points is not None
    payment = PayWithPoints(member, body.points_currency, body.points, place, body.hold)
    return await submit_with_pin(call, payment, member, body.pin)


@get(REDEMPTION, Permission.REDEMPTION_READ, answers={200: RedemptionView}, refusals=(RedemptionNotFound,))
async def read_redemption(call: Call, redemption: UUID) -> Answer:
    """A redemption as it stands: what was taken from which lots, and what became of it."""
    cell = cell_of(redemption, call.runtime.settings.cells)
    async with reading(call.runtime.engine, call.program_id) as connection:
        found = await store.redemption(connection, call.program_id, cell, redemption)
    if found is None or (found.location is not None and not call.principal.at(found.location)):
        raise RedemptionNotFound
    return reply(_redeemed(found))


@get(
    "/v1/members/{member}/redemptions",
    Permission.REDEMPTION_READ,
    answers={200: RedemptionPage},
    refusals=(MemberNotFound, InvalidCursor),
)
async def list_redemptions(call: Call, member: MemberRef, query: wire.PageQuery) -> Answer:
    """A member's redemptions, newest first; a till that is bound to locations sees those made there."""
    before = call.page_start(query.cursor, member)
    cells = call.runtime.settings.cells
    async with reading(call.runtime.engine, call.program_id) as connection:
        id = (await resolve(connection, call.program_id, named(member), cells)).id
        found = await store.redemptions_of(
            connection,
            call.program_id,
            cell_of(id, cells),
            id,
            locations=call.principal.locations,
            before=None if before is None else UUID(before[0]),
            limit=query.limit + 1,
        )
    return call.page([_redeemed(one) for one in found], query.limit, _place, member)


@post(
    f"{REDEMPTION}/fulfil",
    Permission.REDEMPTION_CHANGE,
    keyed=True,
    answers={200: FulfilledAnswer},
    refusals=(RedemptionNotFound, RedemptionCancelled),
)
async def fulfil_redemption(call: Call, redemption: UUID, body: wire.Nothing) -> Answer:
    """Say that it was handed over, or that the sale it pays is done. Twice is once."""
    return await call.submit(FulfilRedemption(redemption))


@post(
    f"{REDEMPTION}/cancel",
    Permission.REDEMPTION_CHANGE,
    keyed=True,
    answers={200: ReturnedAnswer},
    refusals=(RedemptionNotFound, NotReturnable, BalanceLimitExceeded),
)
async def cancel_redemption(call: Call, redemption: UUID, body: wire.CancelRedemptionBody) -> Answer:
    """Undo a redemption: points go back to their own lots with their own dates, the stock and the limit are given back.

    Points whose lots have ended meanwhile are lost (`expired`), or good again for the days that the program grants
    (`reinstated`). What was handed over is cancelled only when it is returnable. Twice is once: the first answer again.
    """
    return await call.submit(CancelRedemption(redemption, body.reason))


async def _shown(
    call: Call, chosen: Callable[[Reward], bool], member: str | None, place: Place
) -> list[Shown]:
    return await catalogue(
        call.runtime,
        call.program_id,
        chosen,
        member=None if member is None else await member_named(call, member),
        place=place,
        actor=call.actor,
        request_id=call.exchange.request_id,
    )


def _view(shown: Shown) -> RewardView:
    reward = shown.reward
    return RewardView(
        reward.id,
        reward.name,
        reward.kind,
        reward.points_currency,
        reward.points,
        reward.money_minor,
        reward.from_on,
        reward.to_on,
        reward.visible,
        shown.stock,
        shown.reserved,
        reward.member_limit,
        reward.quantity_max,
        reward.returnable,
        None if shown.reasons is None else not shown.reasons,
        shown.reasons,
    )


def _redeemed(one: Redemption) -> RedemptionView:
    return RedemptionView(
        one.id,
        one.state,
        one.member_id,
        one.reward,
        one.quantity,
        one.points_currency,
        one.points,
        one.money_minor,
        tuple(RedeemedPart(lot_id, points) for lot_id, points in one.parts),
        one.location,
        one.channel,
        one.till,
        one.reference,
        one.priced_by,
        one.redeemed_at,
        one.changed_at,
        one.decision_id,
        one.entry_id,
        one.changed_by,
    )


def _place(view: RedemptionView) -> list[Any]:
    return [str(view.id)]
