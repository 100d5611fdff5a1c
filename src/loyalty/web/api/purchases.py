"""The till's calls: quote, record, read back, cancel, claim. A purchase is named for ever by its own receipt."""

from datetime import datetime
from hashlib import sha256
from typing import Any, Literal
from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from loyalty.access.roles import Permission
from loyalty.base.canonical import canonical
from loyalty.base.database import reading
from loyalty.base.errors import LoyaltyError
from loyalty.base.numbers import decimal
from loyalty.ledger.types import (
    BalanceLimitExceeded,
    Balances,
    HoldCaptured,
    HoldLapsed,
    HoldNotFound,
    HoldReleased,
    InsufficientPoints,
    LotsLimitExceeded,
)
from loyalty.members.types import IdentifierInvalid, MemberBlocked, MemberErased, MemberNotFound
from loyalty.posting import service as posting
from loyalty.posting.answers import CancelAnswer, PurchaseAnswer, QuoteAnswer
from loyalty.posting.commands import (
    Answer,
    CancelPurchase,
    ClaimPurchase,
    PurchaseLine,
    RecordPurchase,
    Tender,
    UseHold,
)
from loyalty.posting.content import Content
from loyalty.posting.explain import Explanation
from loyalty.posting.quote import quote
from loyalty.posting.returned import units
from loyalty.posting.types import (
    ActivityDiffers,
    AlreadyClaimed,
    AlreadyReturned,
    ClaimTooLate,
    HoldForReward,
    HoldOfAnotherMember,
    InFuture,
    MoneyNotSupported,
    PurchaseCancelled,
    PurchaseNotFound,
    TooOld,
)
from loyalty.web.api import wire
from loyalty.web.api.batches import BatchResult, each
from loyalty.web.api.included import Include, Includes, included, refuse_forbidden
from loyalty.web.api.naming import referred
from loyalty.web.api.returned import ReturnView, return_view, units_gone
from loyalty.web.edge import Call, fitted, get, post, reply
from loyalty.web.guard import refusal
from loyalty.web.types import LocationNotAllowed

PURCHASES = "/v1/purchases"
PURCHASE = "/v1/purchases/{purchase}"

SALE = (
    LocationNotAllowed,
    IdentifierInvalid,
    MemberNotFound,
    MemberBlocked,
    MemberErased,
    MoneyNotSupported,
    InFuture,
    TooOld,
    HoldNotFound,
    HoldOfAnotherMember,
    HoldLapsed,
    HoldCaptured,
    HoldReleased,
    HoldForReward,
    InsufficientPoints,
    BalanceLimitExceeded,
    LotsLimitExceeded,
)


class Receipt(Struct, frozen=True):
    source: wire.ReceiptId
    external_id: wire.ReceiptId
    include: Includes = ()


class PurchaseQuery(Struct, frozen=True):
    include: Includes = ()


class LineView(Struct, frozen=True):
    line_id: str
    sku: str
    quantity: str
    amount_minor: int
    categories: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    tax_minor: int = 0
    discount_minor: int = 0
    returned: str = "0"  # of the quantity
    state: Literal["kept", "partly_returned", "returned"] = "kept"


class ContentView(Struct, frozen=True):
    """What the till sent."""

    occurred_at: datetime
    money: str
    lines: tuple[LineView, ...]
    tenders: tuple[Tender, ...]
    holds: tuple[UseHold, ...]


class PurchaseView(Struct, frozen=True):
    """A receipt as we know it. A cancel that came before its purchase has neither content nor first answer."""

    id: UUID
    state: Literal["recorded", "cancelled"]
    source: str
    external_id: str
    member_id: UUID | None
    occurred_at: datetime | None
    recorded_at: datetime | None
    location: str | None
    channel: str | None
    till: str | None
    amount_minor: int | None
    content: ContentView | None  # null once retention removed the lines
    first_answer: PurchaseAnswer | None
    decision_id: UUID
    returns: tuple[ReturnView, ...]
    # These three are null unless `include` names them.
    explanation: Explanation | None
    entries: tuple[posting.PostedEntry, ...] | None
    balances: Balances | None


@post("/v1/quotes", Permission.QUOTE, answers={200: QuoteAnswer}, refusals=SALE, hot=True)
async def quote_purchase(call: Call, body: wire.QuoteBody) -> Answer:
    """What a purchase would earn if it were recorded now. Nothing is written.

    A receipt that was recorded or cancelled already is quoted like a new one.
    """
    command = await _command(call, body)
    return await quote(call.runtime, call.program_id, command, call.actor, call.exchange.request_id)


@post(
    PURCHASES,
    Permission.PURCHASE_WRITE,
    keyed=True,
    answers={200: PurchaseAnswer, 201: PurchaseAnswer},
    refusals=(*SALE, ActivityDiffers, PurchaseCancelled),
    hot=True,
)
async def record_purchase(call: Call, body: wire.PurchaseBody) -> Answer:
    """Record a purchase: judge it by the rules in force when it happened, and give its points.

    201 with the points, the balances after it and the lines for the receipt. The same receipt with the same
    content is the same purchase, for ever and under any key: 200 and the first answer. Other content: 409.
    """
    return await _record(call, body, call.key)


@post(f"{PURCHASES}/batch", Permission.PURCHASE_WRITE, answers={200: BatchResult})
async def record_purchases(call: Call, body: wire.PurchaseBatch) -> Answer:
    """Record up to 500 purchases that were made offline, in any order, any number of times.

    Items are judged one by one; a faulty one gets its own answer and harms no other. Each `status` and `body` are
    what the item would have been answered alone. An item is protected by its `idempotency_key`, and always by its
    receipt.
    """

    async def one(item: Any) -> Answer:
        try:
            purchase = fitted(wire.PurchaseItem, item)
            return await _record(call, purchase, purchase.idempotency_key)
        except LoyaltyError as error:
            return refusal(error, call.exchange)

    return await each(call, body.items, one)


@get(PURCHASES, Permission.PURCHASE_READ, answers={200: PurchaseView}, refusals=(PurchaseNotFound,))
async def read_receipt(call: Call, query: Receipt) -> Answer:
    """What became of a receipt, asked by the till's own number: after a time-out, this is the truth.

    `include` adds what else is wanted of it, as of the same moment.
    """
    refuse_forbidden(call, query.include)
    async with reading(call.runtime.engine, call.program_id) as connection:
        posted = await posting.purchase_by_receipt(
            connection, call.program_id, query.source, query.external_id
        )
        view = await _view(call, connection, posted, query.include)
    return reply(view)


@get(PURCHASE, Permission.PURCHASE_READ, answers={200: PurchaseView}, refusals=(PurchaseNotFound,))
async def read_purchase(call: Call, purchase: UUID, query: PurchaseQuery) -> Answer:
    """A purchase by the id that recording it answered, with what `include` asks for beside it."""
    refuse_forbidden(call, query.include)
    async with reading(call.runtime.engine, call.program_id) as connection:
        posted = await posting.purchase_by_id(connection, call.program_id, purchase)
        view = await _view(call, connection, posted, query.include)
    return reply(view)


@post(
    f"{PURCHASES}/cancel",
    Permission.PURCHASE_CANCEL,
    keyed=True,
    answers={200: CancelAnswer, 201: CancelAnswer},
    refusals=(PurchaseNotFound, InsufficientPoints, BalanceLimitExceeded),
)
async def cancel_purchase(call: Call, body: wire.CancelBody) -> Answer:
    """Cancel a purchase by its receipt: what is left of what it earned is taken back from its own points.

    Points of holds that it captured go back to where they came from, with their own dates.

    The purchase need not have arrived: the cancel is remembered, and the late original is refused with
    `purchase_cancelled`. Cancelling twice is cancelling once.
    """
    if call.principal.locations:
        async with reading(call.runtime.engine, call.program_id) as connection:
            posted = await posting.purchase_by_receipt(
                connection, call.program_id, body.source, body.external_id
            )
        if posted is not None:
            _own(call, posted)
    reported_at = None if body.reported_at is None else wire.utc(body.reported_at)
    return await call.submit(CancelPurchase(body.source, body.external_id, reported_at))


@post(
    f"{PURCHASE}/claim",
    Permission.PURCHASE_CLAIM,
    keyed=True,
    answers={200: PurchaseAnswer, 201: PurchaseAnswer},
    refusals=(
        PurchaseNotFound,
        PurchaseCancelled,
        AlreadyReturned,
        AlreadyClaimed,
        ClaimTooLate,
        MemberNotFound,
        MemberBlocked,
        MemberErased,
        IdentifierInvalid,
        BalanceLimitExceeded,
        LotsLimitExceeded,
    ),
)
async def claim_purchase(call: Call, purchase: UUID, body: wire.ClaimBody) -> Answer:
    """Give a guest's purchase to a member, once: it is judged by the rules of when it happened.

    Sent again for the same member, under any key, it is the same claim (200 and the first answer); another member's is
    409 `already_claimed`.
    """
    return await call.submit(ClaimPurchase(purchase, await referred(call, body.member)))


async def _record(call: Call, body: wire.PurchaseBody, key: str | None) -> Answer:
    command, content = await purchase_of(call, body)
    return await call.submit(command, content, key=key, asked=PURCHASES)


async def purchase_of(call: Call, body: wire.PurchaseBody) -> tuple[RecordPurchase, bytes]:
    """The command of a purchase, and the digest of what is asked."""
    command = await _command(call, body)
    content = sha256(canonical(command)).digest()
    # The digests belong to the command but are made of its own canonical form, so they come last.
    msgspec.structs.force_setattr(command, "content_digests", call.runtime.digests.of(b"purchase", content))
    return command, content


async def _command(call: Call, body: wire.PurchaseBody) -> RecordPurchase:
    location = wire.location_of(body.location)
    if not call.principal.at(location):
        raise LocationNotAllowed(
            None if location else "This credential is bound to locations, and `location` is missing."
        )
    return RecordPurchase(
        source=body.source,
        external_id=body.external_id,
        occurred_at=wire.utc(body.occurred_at),
        money=body.money,
        lines=tuple(
            [
                PurchaseLine(
                    line.line_id,
                    line.sku,
                    wire.milli(line.quantity),
                    line.amount_minor,
                    line.categories,
                    line.tags,
                    line.tax_minor,
                    line.discount_minor,
                )
                for line in body.lines
            ]
        ),
        member=None if body.member is None else await referred(call, body.member),
        till=body.till,
        location=location,
        channel=body.channel,
        tenders=tuple([Tender(tender.type, tender.amount_minor) for tender in body.tenders]),
        holds=tuple([UseHold(use.id, use.points) for use in body.holds]),
    )


def _own(call: Call, posted: posting.PostedPurchase | None) -> posting.PostedPurchase:
    """The purchase, unless there is none or the caller is a till of another location: told alike."""
    if posted is None or (posted.location is not None and not call.principal.at(posted.location)):
        raise PurchaseNotFound
    return posted


async def _view(
    call: Call,
    connection: AsyncConnection,
    found: posting.PostedPurchase | None,
    wanted: tuple[Include, ...],
) -> PurchaseView:
    posted = _own(call, found)
    beside = await included(call, connection, posted, wanted)
    content, lines = None, ()
    returns = await posting.returns_of(connection, call.program_id, posted)
    if posted.content is not None:
        stored = msgspec.json.decode(posted.content, type=Content)
        lines = stored.lines
        gone = units_gone(returns)
        if posted.state != "recorded":  # a cancel takes all that was left
            gone = dict(enumerate(units(lines)))
        content = ContentView(
            stored.occurred_at,
            stored.money,
            tuple(
                LineView(
                    line.line_id,
                    line.sku,
                    decimal(line.quantity_milli),
                    line.amount_minor,
                    line.categories,
                    line.tags,
                    line.tax_minor,
                    line.discount_minor,
                    decimal(min(gone.get(position, 0), line.quantity_milli)),
                    _state(gone.get(position, 0), line),
                )
                for position, line in enumerate(lines)
            ),
            stored.tenders,
            stored.holds,
        )
    known = posted.occurred_at is not None
    return PurchaseView(
        posted.id,
        "recorded" if posted.state == "recorded" else "cancelled",
        posted.source,
        posted.external_id,
        posted.member_id,
        posted.occurred_at,
        posted.recorded_at,
        posted.location,
        posted.channel,
        posted.till,
        posted.amount_minor,
        content,
        msgspec.json.decode(posted.answer, type=PurchaseAnswer) if known else None,
        posted.decision_id,
        tuple(return_view(one, lines) for one in returns),
        beside.explanation,
        beside.entries,
        beside.balances,
    )


def _state(gone: int, line: PurchaseLine) -> Literal["kept", "partly_returned", "returned"]:
    if not gone:
        return "kept"
    return "returned" if gone >= line.quantity_milli else "partly_returned"
