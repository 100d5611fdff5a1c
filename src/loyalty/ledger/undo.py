"""Undo: earned points are revoked, spent ones restored to their lots, expired ones reinstated, dates changed.

Which points, is the caller's: it reads the stored awards and postings of what is undone.
Source: docs/ledger.md, "Undo".
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Literal
from uuid import UUID

from loyalty.ledger.lots import NEVER, Parts, moves, refuse_too_many, spending_order
from loyalty.ledger.types import (
    Account,
    Bucket,
    EntryDraft,
    EntryKind,
    InsufficientPoints,
    Lot,
    Posting,
    Redate,
)


def revoke(
    account: Account,
    lots: Mapping[UUID, Lot],
    own: Mapping[UUID, int],
    occurred_at: datetime,
    *,
    negative: Literal["prevent", "floor", "waive"],
    floor: int,
    cause: str | None = None,
) -> list[EntryDraft]:
    """Take back points earned on the lots `own`: at most one entry; settle afterwards, it repays new debt.

    Order: of each own lot pending, then expired (lost already, not taken twice), then available; then the
    account's other available points in spending order; the rest by policy: `prevent` refuses, `floor` lets debt
    grow on the own lots to at most `floor` and refuses what goes deeper, `waive` lets it go (asked less posted is
    what was waived). Held points are left alone.
    Needs: the own lots and all open lots, settled.
    Raises: InsufficientPoints; then nothing is taken.
    """
    postings: list[Posting] = []
    taken: dict[UUID, int] = {}  # of available, per lot
    short: list[tuple[UUID, int]] = []
    for lot_id, points in own.items():
        lot = lots[lot_id]
        wanted = points
        for bucket, there in (
            (Bucket.PENDING, lot.pending),
            (Bucket.EXPIRED, lot.expired),
            (Bucket.AVAILABLE, lot.available),
        ):
            part = min(wanted, there)
            if part:
                postings.append(Posting(lot_id, part, bucket, Bucket.REVOKED))
                wanted -= part
                if bucket is Bucket.AVAILABLE:
                    taken[lot_id] = part
        if wanted:
            short.append((lot_id, wanted))
    shortfall = sum(points for _, points in short)
    if shortfall:
        for lot in sorted(lots.values(), key=spending_order(account)):
            part = min(shortfall, lot.available - taken.get(lot.id, 0))
            if part:
                postings.append(Posting(lot.id, part, Bucket.AVAILABLE, Bucket.REVOKED))
                shortfall -= part
    if shortfall and negative != "waive":
        room = max(0, floor - account.debt) if negative == "floor" else 0
        if shortfall > room:
            asked = sum(own.values())
            raise InsufficientPoints(wanted=asked, available=asked - shortfall + room)
        for lot_id, points in short:
            part = min(points, shortfall)
            if part:
                postings.append(Posting(lot_id, part, Bucket.DEFICIT, Bucket.REVOKED))
                shortfall -= part
    if not postings:
        return []
    return [EntryDraft(account.id, EntryKind.REVOKE, occurred_at, _merged(postings), cause=cause)]


def restore(
    account: Account,
    parts: Parts,
    occurred_at: datetime,
    cause: str | None = None,
    corrects_entry_id: UUID | None = None,
) -> EntryDraft:
    """Give spent points back to the lots they came from, with their own dates; settle afterwards.

    Raises: BalanceLimitExceeded.
    """
    refuse_too_many(account, sum(points for _, points in parts))
    postings = moves(parts, Bucket.REDEEMED, Bucket.AVAILABLE)
    return EntryDraft(
        account.id, EntryKind.RESTORE, occurred_at, postings, cause=cause, corrects_entry_id=corrects_entry_id
    )


def last_expired(lots: Iterable[Lot], points: int) -> Parts:
    """Which lots give back `points` of what expired: those that ended last first.

    Needs: so many have expired of them.
    """
    parts: list[tuple[UUID, int]] = []
    for lot in sorted(lots, key=lambda lot: (lot.expires_at or NEVER, lot.vintage_at, lot.id), reverse=True):
        part = min(points, lot.expired)
        if part:
            parts.append((lot.id, part))
            points -= part
    return tuple(parts)


def reinstate(
    account: Account,
    lots: Mapping[UUID, Lot],
    parts: Parts,
    occurred_at: datetime,
    expires_at: datetime | None,
    cause: str | None = None,
) -> EntryDraft:
    """Give expired points back to their lots, good until `expires_at` at least; settle afterwards.

    A lot of which points are left may be good for longer already, and stays so. Raises: BalanceLimitExceeded.
    """
    refuse_too_many(account, sum(points for _, points in parts))
    redates = tuple(
        Redate(lot_id, lot.activates_at, lot.expires_at, lot.activates_at, _later(lot.expires_at, expires_at))
        for lot_id, _ in parts
        if (lot := lots[lot_id])
    )
    postings = moves(parts, Bucket.EXPIRED, Bucket.AVAILABLE)
    return EntryDraft(account.id, EntryKind.REINSTATE, occurred_at, postings, cause=cause, redates=redates)


def redate(
    account: Account,
    lots: Mapping[UUID, Lot],
    new_dates: Mapping[UUID, tuple[datetime | None, datetime | None]],
    occurred_at: datetime,
    cause: str | None = None,
) -> EntryDraft:
    """Give lots other dates (activates, expires); what that makes due is due from `occurred_at` on."""
    redates = tuple(
        Redate(lot_id, lots[lot_id].activates_at, lots[lot_id].expires_at, activates_at, expires_at)
        for lot_id, (activates_at, expires_at) in new_dates.items()
    )
    return EntryDraft(account.id, EntryKind.REDATE, occurred_at, (), cause=cause, redates=redates)


def forfeit(
    account: Account, lots: Mapping[UUID, Lot], occurred_at: datetime, cause: str
) -> Iterator[EntryDraft]:
    """End all points of an account (a member is erased): pending are revoked, available expire.

    Needs: all open lots, settled, holds released. A debt is written off by a credit of cause `waived`.
    """
    pending = tuple((lot.id, lot.pending) for lot in lots.values() if lot.pending)
    if pending:
        postings = moves(pending, Bucket.PENDING, Bucket.REVOKED)
        yield EntryDraft(account.id, EntryKind.REVOKE, occurred_at, postings, cause=cause)
    available = tuple((lot.id, lot.available) for lot in lots.values() if lot.available)
    if available:
        postings = moves(available, Bucket.AVAILABLE, Bucket.EXPIRED)
        yield EntryDraft(account.id, EntryKind.EXPIRE, occurred_at, postings, cause=cause)


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    """The later end of two; None is never."""
    return None if one is None or other is None else max(one, other)


def _merged(postings: list[Posting]) -> tuple[Posting, ...]:
    """The same moves with one posting per lot and pair of buckets."""
    sums: dict[tuple[UUID, Bucket, Bucket], int] = {}
    for posting in postings:
        key = (posting.lot_id, posting.source, posting.target)
        sums[key] = sums.get(key, 0) + posting.points
    return tuple(Posting(lot_id, points, source, target) for (lot_id, source, target), points in sums.items())
