"""The till's calls: quote, record, read back, cancel, claim. A purchase is named for ever by its own receipt."""

from datetime import datetime
from hashlib import sha256
from typing import Any, Literal
from uuid import UUID

import msgspec
from msgspec import Struct

from loyalty.access.roles import Permission
from loyalty.base.canonical import canonical
from loyalty.base.database import reading
from loyalty.base.errors import LoyaltyError
from loyalty.base.text import composed
from loyalty.ledger.types import (
    BalanceLimitExceeded,
    HoldCaptured,
    HoldLapsed,
    HoldNotFound,
    HoldReleased,
    InsufficientPoints,
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
from loyalty.posting.quote import quote
from loyalty.posting.types import (
    ActivityDiffers,
    AlreadyClaimed,
    ClaimTooLate,
    HoldOfAnotherMember,
    InFuture,
    MoneyNotSupported,
    PurchaseCancelled,
    PurchaseNotFound,
    TooOld,
)
from loyalty.web.api import wire
from loyalty.web.api.batches import BatchResult, each
from loyalty.web.api.naming import referred
from loyalty.web.edge import Call, fitted, get, post, reply
from loyalty.web.guard import refusal
from loyalty.web.types import LocationNotAllowed

PURCHASES = "/v1/purchases"
PURCHASE = "/v1/purchases/{purchase}"

_SALE = (
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
    InsufficientPoints,
    BalanceLimitExceeded,
)


class Receipt(Struct, frozen=True):
    source: wire.ReceiptId
    external_id: wire.ReceiptId


class LineView(Struct, frozen=True):
    line_id: str
    sku: str
    quantity: str
    amount_minor: int
    categories: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    tax_minor: int = 0
    discount_minor: int = 0


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


@post("/v1/quotes", Permission.QUOTE, answers={200: QuoteAnswer}, refusals=_SALE, hot=True)
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
    refusals=(*_SALE, ActivityDiffers, PurchaseCancelled),
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
    """What became of a receipt, asked by the till's own number: after a time-out, this is the truth."""
    async with reading(call.runtime.engine, call.program_id) as connection:
        posted = await posting.purchase_by_receipt(
            connection, call.program_id, query.source, query.external_id
        )
    return reply(_view(_own(call, posted)))


@get(PURCHASE, Permission.PURCHASE_READ, answers={200: PurchaseView}, refusals=(PurchaseNotFound,))
async def read_purchase(call: Call, purchase: UUID) -> Answer:
    """A purchase by the id that recording it answered."""
    async with reading(call.runtime.engine, call.program_id) as connection:
        posted = await posting.purchase_by_id(connection, call.program_id, purchase)
    return reply(_view(_own(call, posted)))


@post(
    f"{PURCHASES}/cancel",
    Permission.PURCHASE_CANCEL,
    keyed=True,
    answers={200: CancelAnswer, 201: CancelAnswer},
    refusals=(PurchaseNotFound, InsufficientPoints, BalanceLimitExceeded),
)
async def cancel_purchase(call: Call, body: wire.CancelBody) -> Answer:
    """Cancel a whole purchase by its receipt: what it earned is taken back from its own points.

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
        AlreadyClaimed,
        ClaimTooLate,
        MemberNotFound,
        MemberBlocked,
        MemberErased,
        IdentifierInvalid,
        BalanceLimitExceeded,
    ),
)
async def claim_purchase(call: Call, purchase: UUID, body: wire.ClaimBody) -> Answer:
    """Give a guest's purchase to a member, once: it is judged by the rules of when it happened."""
    return await call.submit(ClaimPurchase(purchase, await referred(call, body.member)))


async def _record(call: Call, body: wire.PurchaseBody, key: str | None) -> Answer:
    command = await _command(call, body)
    content = sha256(canonical(command)).digest()
    # The digests belong to the command but are made of its own canonical form, so they come last.
    msgspec.structs.force_setattr(command, "content_digests", call.runtime.digests.of(b"purchase", content))
    return await call.submit(command, content, key=key, asked=PURCHASES)


async def _command(call: Call, body: wire.PurchaseBody) -> RecordPurchase:
    location = None if body.location is None else composed(body.location)
    if not call.principal.at(location):
        raise LocationNotAllowed
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


def _view(posted: posting.PostedPurchase) -> PurchaseView:
    content = None
    if posted.content is not None:
        stored = msgspec.json.decode(posted.content, type=Content)
        content = ContentView(
            stored.occurred_at,
            stored.money,
            tuple(
                LineView(
                    line.line_id,
                    line.sku,
                    wire.decimal(line.quantity_milli),
                    line.amount_minor,
                    line.categories,
                    line.tags,
                    line.tax_minor,
                    line.discount_minor,
                )
                for line in stored.lines
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
    )
