"""Points, or a reward with its points, set aside: placed with a deadline, extended, captured or redeemed, released;
or it runs out by itself.
"""

from typing import Any
from uuid import UUID

from msgspec import Struct

from loyalty.access.roles import Permission
from loyalty.base.database import reading
from loyalty.base.paging import InvalidCursor
from loyalty.ledger import service as ledger
from loyalty.ledger.service import Owner
from loyalty.ledger.types import (
    BalanceLimitExceeded,
    HoldCaptured,
    HoldLapsed,
    HoldNotFound,
    HoldReleased,
    HoldView,
    InsufficientPoints,
    LotsLimitExceeded,
)
from loyalty.members.cells import cell_of
from loyalty.members.service import resolve
from loyalty.members.types import IdentifierInvalid, MemberBlocked, MemberErased, MemberNotFound
from loyalty.posting.answers import HoldAnswer
from loyalty.posting.commands import (
    Answer,
    CaptureHold,
    ExtendHold,
    HoldReward,
    MemberRef,
    Place,
    PlaceHold,
    ReleaseHold,
)
from loyalty.posting.types import (
    AccountFrozen,
    HoldForReward,
    HoldTooLong,
    PinChanged,
    PinLocked,
    PinRequired,
    PinWrong,
    PointsCurrencyUnknown,
    PointsNotSpendable,
    SpendingLimit,
)
from loyalty.rewards.types import QuantityTooLarge, RewardNotFound, RewardUnavailable
from loyalty.web.api import wire
from loyalty.web.api.naming import named, referred
from loyalty.web.edge import Call, get, post, reply
from loyalty.web.pins import submit_with_pin
from loyalty.web.types import LocationNotAllowed

HOLDS = "/v1/holds"
HOLD = "/v1/holds/{hold}"

_OPEN = (HoldNotFound, HoldLapsed, HoldCaptured, HoldReleased, MemberBlocked)


class HoldPage(Struct, frozen=True):
    data: tuple[HoldView, ...]
    next_cursor: str | None


@post(
    HOLDS,
    Permission.HOLD_WRITE,
    keyed=True,
    answers={201: HoldAnswer},
    refusals=(
        LocationNotAllowed,
        IdentifierInvalid,
        MemberNotFound,
        MemberErased,
        MemberBlocked,
        RewardNotFound,
        PointsCurrencyUnknown,
        PointsNotSpendable,
        HoldTooLong,
        QuantityTooLarge,
        RewardUnavailable,
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
async def place_hold(call: Call, body: wire.HoldBody) -> Answer:
    """Set points of a member aside for a sale, those that expire first; nobody else can spend them meanwhile.

    The answer says until when (`lapses_at`). What is neither captured nor released by then goes back by itself.
    Points that are held do not expire. With `reward` so many of it are set aside too, of the stock and of the member's
    limit, at the price of now: redeem it by `hold`.
    """
    location = wire.location_of(body.location)
    if not call.principal.at(location):
        raise LocationNotAllowed
    member = await referred(call, body.member)
    if body.reward is not None:
        place = Place(location, body.channel, body.till, body.reference)
        wanted = HoldReward(member, body.reward, body.quantity or 1, body.minutes, place)
        return await submit_with_pin(call, wanted, member, body.pin)
    assert body.points_currency is not None
    assert body.points is not None
    command = PlaceHold(
        member, body.points_currency, body.points, body.minutes, body.reference, body.till, location
    )
    return await submit_with_pin(call, command, member, body.pin)


@get(HOLD, Permission.HOLD_READ, answers={200: HoldView}, refusals=(HoldNotFound,))
async def read_hold(call: Call, hold: UUID) -> Answer:
    """A hold as it stands now, also when it is over: after a time-out, this is the truth."""
    cell = cell_of(hold, call.runtime.settings.cells)
    now = await call.runtime.now(call.program_id)
    async with reading(call.runtime.engine, call.program_id) as connection:
        found = await ledger.hold(connection, call.program_id, cell, hold, now)
    if not _shown(call, found):
        raise HoldNotFound
    return reply(found)


@post(
    f"{HOLD}/extend",
    Permission.HOLD_WRITE,
    keyed=True,
    answers={200: HoldAnswer},
    refusals=(*_OPEN, HoldTooLong),
)
async def extend_hold(call: Call, hold: UUID, body: wire.ExtendBody) -> Answer:
    """Let a hold last longer: so many minutes from now. One that lasts longer anyway stays as it is."""
    return await call.submit(ExtendHold(hold, body.minutes))


@post(
    f"{HOLD}/capture",
    Permission.HOLD_WRITE,
    keyed=True,
    answers={200: HoldAnswer},
    refusals=(*_OPEN, HoldForReward, InsufficientPoints),
)
async def capture_hold(call: Call, hold: UUID, body: wire.CaptureBody) -> Answer:
    """Take the points of a hold for good: all that is held, or some.

    What is not taken stays held, to be captured later, unless `release_rest` gives it back. A purchase captures by
    its own `holds`: then a cancel of the purchase gives the points back. A reward that was set aside is redeemed.
    """
    return await call.submit(CaptureHold(hold, body.points, body.release_rest))


@post(
    f"{HOLD}/release",
    Permission.HOLD_WRITE,
    keyed=True,
    answers={200: HoldAnswer},
    refusals=(HoldNotFound,),
)
async def release_hold(call: Call, hold: UUID, body: wire.Nothing) -> Answer:
    """Give back what is still held. Releasing twice is releasing once; what has ended is answered as it is.

    Points whose end has come while they were held are gone, unless the points currency grants days of grace.
    """
    return await call.submit(ReleaseHold(hold))


@get(
    "/v1/members/{member}/holds",
    Permission.HOLD_READ,
    answers={200: HoldPage},
    refusals=(MemberNotFound, InvalidCursor),
)
async def read_open_holds(call: Call, member: MemberRef, query: wire.PageQuery) -> Answer:
    """The holds of a member that are open now, those that lapse first at the top."""
    after = call.page_start(query.cursor, member)
    cells = call.runtime.settings.cells
    now = await call.runtime.now(call.program_id)
    async with reading(call.runtime.engine, call.program_id) as connection:
        id = (await resolve(connection, call.program_id, named(member), cells)).id
        found = await ledger.open_holds(connection, Owner(call.program_id, cell_of(id, cells), id), now)
    shown = [one for one in found if _shown(call, one) and (after is None or _place(one) > after)]
    return call.page(shown[: query.limit + 1], query.limit, _place, member)


def _shown(call: Call, hold: HoldView) -> bool:
    """Whether the caller may see it: a till that is bound to locations sees theirs, and those of none."""
    return hold.location is None or call.principal.at(hold.location)


def _place(hold: HoldView) -> list[Any]:
    """Where a hold stands in the list."""
    return [hold.lapses_at.isoformat(), str(hold.id)]
