"""Lots: how points are issued, and in which order they are taken.

Source: docs/ledger.md, "Spending order".
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from uuid import UUID

from loyalty.base.ids import NIL
from loyalty.ledger.types import (
    PARTS_MAX,
    POINTS_MAX,
    Account,
    BalanceLimitExceeded,
    Bucket,
    EntryDraft,
    EntryKind,
    InsufficientPoints,
    Lot,
    LotsLimitExceeded,
    Posting,
    Redate,
)

NEVER = datetime.max.replace(tzinfo=UTC)

Parts = tuple[tuple[UUID, int], ...]  # (lot, points > 0)


def issue(
    account: Account,
    *,
    lot_id: UUID,
    decision_id: UUID,
    points: int,
    vintage_at: datetime,
    occurred_at: datetime,
    activates_at: datetime | None,
    expires_at: datetime | None,
    slides: str | None = None,
    policy_number: int,
    kind: EntryKind,
    cause: str | None = None,
) -> EntryDraft:
    """A credit of one new lot: pending when it activates later than it occurs, else available.

    `occurred_at` is never after the deciding instant (a till's clock that runs ahead is cut to it): what is
    taken later must not occur before what came. Settle again after applying it: it may be due already.
    Raises: BalanceLimitExceeded.
    """
    refuse_too_many(account, points)
    pending = activates_at is not None and activates_at > occurred_at
    lot = Lot(
        id=lot_id,
        account_id=account.id,
        parent_lot_id=None,
        issuing_entry_id=NIL,
        decision_id=decision_id,
        points=points,
        vintage_at=vintage_at,
        policy_number=policy_number,
        issued_activates_at=activates_at,
        issued_expires_at=expires_at,
        activates_at=activates_at,
        expires_at=expires_at,
        arrived_at=occurred_at,
        slides=slides,
    )
    posting = Posting(lot_id, points, Bucket.ISSUED, Bucket.PENDING if pending else Bucket.AVAILABLE)
    return EntryDraft(account.id, kind, occurred_at, (posting,), cause=cause, lots=(lot,))


def refuse_too_many(account: Account, points: int) -> None:
    """Raises BalanceLimitExceeded when `points` more could not be counted exactly."""
    if account.pending + account.available + account.held + points > POINTS_MAX:
        raise BalanceLimitExceeded(points_max=POINTS_MAX)


def spending_order(account: Account) -> Callable[[Lot], tuple[datetime, datetime, UUID]]:
    """Of the account's lots the earliest expiry first, never-expiring last; then by first earning, then by id."""
    return lambda lot: (account.end_of(lot) or NEVER, lot.vintage_at, lot.id)


def ended(account: Account, lots: Iterable[Lot]) -> tuple[Redate, ...]:
    """For lots of which points expire: what activity had put off bears the end it had come to as its own date.

    Activity of later would move the account's end again, and nobody could say any more when these points ended.
    """
    return tuple(
        Redate(lot.id, lot.activates_at, lot.expires_at, lot.activates_at, end)
        for lot in lots
        if (end := account.end_of(lot)) != lot.expires_at
    )


def choose(account: Account, lots: Mapping[UUID, Lot], points: int) -> Parts:
    """Which lots give `points` available points, in spending order.

    Needs: all open lots of the account in `lots`, settled.
    Raises: InsufficientPoints when there are fewer, LotsLimitExceeded when they lie in too many lots for one entry;
    then nothing is taken.
    """
    if account.available < points:
        raise InsufficientPoints(wanted=points, available=account.available)
    parts: list[tuple[UUID, int]] = []
    for lot in sorted((lot for lot in lots.values() if lot.available), key=spending_order(account)):
        if not points:
            break
        part = min(points, lot.available)
        parts.append((lot.id, part))
        points -= part
    if len(parts) > PARTS_MAX:
        raise LotsLimitExceeded(lots_max=PARTS_MAX)
    return tuple(parts)


def spend(account: Account, lots: Mapping[UUID, Lot], points: int) -> tuple[Posting, ...]:
    """Postings that take `points` for good, available → redeemed, in spending order.

    Needs: all open lots of the account in `lots`, settled.
    Raises: InsufficientPoints, LotsLimitExceeded.
    """
    return moves(choose(account, lots, points), Bucket.AVAILABLE, Bucket.REDEEMED)


def moves(parts: Parts, source: Bucket, target: Bucket) -> tuple[Posting, ...]:
    """One posting per part, all between the same buckets."""
    return tuple(Posting(lot_id, points, source, target) for lot_id, points in parts)


def repay(account: Account, lots: Mapping[UUID, Lot], occurred_at: datetime) -> EntryDraft | None:
    """Available points that pay the account's debt, earliest expiry first; None when there is nothing to pay.

    Takes only points that came by `occurred_at`. `settle` calls it wherever available or debt rose.
    """
    owed = account.debt
    parts: list[tuple[UUID, int]] = []
    if owed and account.available:
        payers = (lot for lot in lots.values() if lot.available and lot.arrived_at <= occurred_at)
        for lot in sorted(payers, key=spending_order(account)):
            if not owed:
                break
            part = min(owed, lot.available)
            parts.append((lot.id, part))
            owed -= part
    if not parts:
        return None
    postings = moves(tuple(parts), Bucket.AVAILABLE, Bucket.DEFICIT)
    return EntryDraft(account.id, EntryKind.REPAY, occurred_at, postings)
