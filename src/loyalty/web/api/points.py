"""Opening balances, brought in from an earlier system."""

from typing import Any

from loyalty.access.roles import Permission
from loyalty.base.canonical import canonical
from loyalty.base.errors import LoyaltyError
from loyalty.ledger.types import BalanceLimitExceeded, LotsLimitExceeded
from loyalty.members.types import IdentifierInvalid, MemberBlocked, MemberErased, MemberNotFound
from loyalty.posting.answers import ImportAnswer
from loyalty.posting.commands import Answer, ImportLot
from loyalty.posting.content import recognisable
from loyalty.posting.types import ActivityDiffers, DatesContradict, InFuture, PointsCurrencyUnknown
from loyalty.web.api import wire
from loyalty.web.api.batches import BatchResult, each
from loyalty.web.api.naming import referred
from loyalty.web.edge import Call, fitted, post
from loyalty.web.guard import refusal

LOTS = "/v1/imports/lots"

_MEMBER = (IdentifierInvalid, MemberNotFound, MemberBlocked, MemberErased, PointsCurrencyUnknown)


@post(
    LOTS,
    Permission.IMPORT,
    keyed=True,
    answers={200: ImportAnswer, 201: ImportAnswer},
    refusals=(*_MEMBER, ActivityDiffers, InFuture, DatesContradict, BalanceLimitExceeded, LotsLimitExceeded),
)
async def import_lot(call: Call, body: wire.ImportLotBody) -> Answer:
    """Bring in one credit of an earlier system with its original dates.

    Without dates the points currency's own policy gives them. The same source and external id with the same
    content is the same lot, for ever: 200 and the first answer.
    """
    return await _import(call, body, call.key)


@post(f"{LOTS}/batch", Permission.IMPORT, answers={200: BatchResult})
async def import_lots(call: Call, body: wire.ImportBatch) -> Answer:
    """Bring in up to 500 lots; items are judged one by one, as in a batch of purchases."""

    async def one(item: Any) -> Answer:
        try:
            lot = fitted(wire.ImportItem, item)
            return await _import(call, lot, lot.idempotency_key)
        except LoyaltyError as error:
            return refusal(error, call.exchange)

    return await each(call, body.items, one)


async def _import(call: Call, body: wire.ImportLotBody, key: str | None) -> Answer:
    command = ImportLot(
        await referred(call, body.member),
        body.points_currency,
        body.points,
        body.source,
        body.external_id,
        wire.utc(body.issued_at),
        None if body.activates_at is None else wire.utc(body.activates_at),
        None if body.expires_at is None else wire.utc(body.expires_at),
    )
    known = recognisable(command, call.runtime.digests)
    return await call.submit(known, canonical(command), key=key, asked=LOTS)
