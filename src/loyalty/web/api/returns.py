"""Lines of a purchase go back, in as many parts as they come, wherever they were bought: docs/returns.md."""

from hashlib import sha256
from uuid import UUID

import msgspec
from msgspec import Struct

from loyalty.access.roles import Permission
from loyalty.base.canonical import canonical
from loyalty.base.database import reading
from loyalty.ledger.types import InsufficientPoints
from loyalty.posting import service as posting
from loyalty.posting.answers import ExchangeAnswer, ReturnAnswer
from loyalty.posting.commands import Answer, ExchangePurchase, ReceiptName, ReturnLine, ReturnPurchase
from loyalty.posting.content import Content
from loyalty.posting.types import (
    ActivityDiffers,
    AlreadyReturned,
    CurrencyMismatch,
    ExceedsPurchase,
    InFuture,
    LinesRemoved,
    PurchaseCancelled,
    PurchaseNotFound,
    ReturnInvalid,
    ReturnNotFound,
)
from loyalty.web.api import wire
from loyalty.web.api.purchases import PURCHASE, PURCHASES, SALE, purchase_of
from loyalty.web.api.returned import ReturnView, return_view
from loyalty.web.edge import Call, get, post, reply
from loyalty.web.types import LocationNotAllowed

_BACK = (
    LocationNotAllowed,
    ActivityDiffers,
    InFuture,
    CurrencyMismatch,
    PurchaseNotFound,
    PurchaseCancelled,
    AlreadyReturned,
    LinesRemoved,
    ReturnInvalid,
    ExceedsPurchase,
    InsufficientPoints,
)


class ReturnReceipt(Struct, frozen=True):
    source: wire.ReceiptId
    external_id: wire.ReceiptId


@post(
    f"{PURCHASE}/returns",
    Permission.PURCHASE_RETURN,
    keyed=True,
    answers={200: ReturnAnswer, 201: ReturnAnswer},
    refusals=_BACK,
)
async def return_purchase(call: Call, purchase: UUID, body: wire.ReturnBody) -> Answer:
    """Take back lines of a purchase, or all that is left of it.

    What the lines had earned is taken back, by quantity and rounded down, so that all parts together are exactly
    the whole. A return has its own `source` and `external_id`: the same content again is the same return, for ever.
    """
    return await _submit(call, body, purchase_id=purchase)


@post(
    f"{PURCHASES}/returns",
    Permission.PURCHASE_RETURN,
    keyed=True,
    answers={200: ReturnAnswer, 201: ReturnAnswer},
    refusals=_BACK,
)
async def return_by_receipt(call: Call, body: wire.ReturnByReceiptBody) -> Answer:
    """Take back lines of a purchase that is named by its own receipt.

    A purchase that was never seen is refused (404), or remembered without any effect on points where the program's
    policy `blind_returns` says `record`.
    """
    return await _submit(call, body, of=ReceiptName(body.of.source, body.of.external_id))


@post(
    f"{PURCHASES}/exchanges",
    Permission.PURCHASE_WRITE,
    keyed=True,
    answers={200: ExchangeAnswer, 201: ExchangeAnswer},
    refusals=(*SALE, *_BACK),
)
async def exchange_purchase(call: Call, body: wire.ExchangeBody) -> Answer:
    """Take lines back and record a purchase, both or neither: first the return, then the purchase.

    For roles that may do either. The answer holds both answers; each of the two can be read back by its receipt.
    """
    call.principal.require(Permission.PURCHASE_RETURN)
    of = ReceiptName(body.returned.of.source, body.returned.of.external_id)
    returned, first = _command(call, body.returned, of=of)
    purchase, second = await purchase_of(call, body.purchase)
    return await call.submit(ExchangePurchase(returned, purchase), first + second)


@get("/v1/returns", Permission.PURCHASE_READ, answers={200: ReturnView}, refusals=(ReturnNotFound,))
async def read_return(call: Call, query: ReturnReceipt) -> Answer:
    """What became of a return, asked by the till's own number."""
    async with reading(call.runtime.engine, call.program_id) as connection:
        found = await posting.return_by_receipt(connection, call.program_id, query.source, query.external_id)
        if found is None or (found.location is not None and not call.principal.at(found.location)):
            raise ReturnNotFound
        bought = ()
        purchase_id = msgspec.json.decode(found.answer, type=ReturnAnswer).purchase_id
        if purchase_id is not None:
            purchase = await posting.purchase_by_id(connection, call.program_id, purchase_id)
            assert purchase is not None, "a return without its purchase"
            parts = await posting.returns_of(connection, call.program_id, purchase)
            found = next(part for part in parts if part.id == found.id)
            if purchase.content is not None:
                bought = msgspec.json.decode(purchase.content, type=Content).lines
    return reply(return_view(found, bought))


async def _submit(
    call: Call, body: wire.ReturnBody, *, purchase_id: UUID | None = None, of: ReceiptName | None = None
) -> Answer:
    return await call.submit(*_command(call, body, purchase_id=purchase_id, of=of))


def _command(
    call: Call, body: wire.ReturnBody, *, purchase_id: UUID | None = None, of: ReceiptName | None = None
) -> tuple[ReturnPurchase, bytes]:
    """The command of a return, and the digest of what is asked. A till takes back at its own locations alone."""
    location = wire.location_of(body.location)
    if not call.principal.at(location):
        raise LocationNotAllowed
    command = ReturnPurchase(
        source=body.source,
        external_id=body.external_id,
        occurred_at=wire.utc(body.occurred_at),
        purchase_id=purchase_id,
        of=of,
        lines=None if body.lines is None else tuple([_line(line) for line in body.lines]),
        money=body.money,
        till=body.till,
        location=location,
    )
    content = sha256(canonical(command)).digest()
    msgspec.structs.force_setattr(command, "content_digests", call.runtime.digests.of(b"return", content))
    return command, content


def _line(line: wire.ReturnLineBody) -> ReturnLine:
    return ReturnLine(line.line_id, None if line.quantity is None else wire.milli(line.quantity))
