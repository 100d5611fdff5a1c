"""Transfers: points leave lots of one account and come to child lots of another.

A child keeps its parent's dates (of what slides the end it had come to), vintage and policies; the pair of entries
cancels in `transferred`.
Source: docs/ledger.md, "Owners".
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from uuid import UUID

from loyalty.base.ids import NIL
from loyalty.ledger.lots import Parts, moves, refuse_too_many
from loyalty.ledger.types import Account, Bucket, EntryDraft, EntryKind, Lot


def transfer(
    giver: Account,
    lots: Mapping[UUID, Lot],
    taker: Account,
    parts: Parts,
    occurred_at: datetime,
    *,
    new_id: Callable[[], UUID],
    decision_id: UUID,
    cause: str | None = None,
) -> tuple[EntryDraft, EntryDraft]:
    """The pair of entries that moves `parts` of the giver's `lots`: out for the giver, in for the taker.

    Settle the taker afterwards.
    Raises: BalanceLimitExceeded.
    """
    refuse_too_many(taker, sum(points for _, points in parts))
    children = tuple(
        Lot(
            id=new_id(),
            account_id=taker.id,
            parent_lot_id=lot_id,
            issuing_entry_id=NIL,
            decision_id=decision_id,
            points=points,
            vintage_at=lots[lot_id].vintage_at,
            policy_number=lots[lot_id].policy_number,
            issued_activates_at=lots[lot_id].activates_at,
            issued_expires_at=giver.end_of(lots[lot_id]),
            activates_at=lots[lot_id].activates_at,
            expires_at=giver.end_of(lots[lot_id]),
            arrived_at=occurred_at,
            slides=lots[lot_id].slides if lots[lot_id].sliding else None,
        )
        for lot_id, points in parts
    )
    given = moves(parts, Bucket.AVAILABLE, Bucket.TRANSFERRED)
    taken = moves(tuple((lot.id, lot.points) for lot in children), Bucket.TRANSFERRED, Bucket.AVAILABLE)
    return (
        EntryDraft(giver.id, EntryKind.TRANSFER_OUT, occurred_at, given, cause=cause),
        EntryDraft(taker.id, EntryKind.TRANSFER_IN, occurred_at, taken, cause=cause, lots=children),
    )
