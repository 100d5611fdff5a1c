"""What each kind of entry may move, and the one function that changes the figures of accounts and lots.

The table is docs/ledger.md, "Posting table". Everything else in this room only drafts entries.
"""

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

from msgspec.structs import replace

from loyalty.base.errors import LawBroken
from loyalty.ledger.types import POINTS_MAX, Account, Bucket, Entry, EntryDraft, EntryKind, Lot

Move = tuple[Bucket, Bucket]

_ISSUE: frozenset[Move] = frozenset({(Bucket.ISSUED, Bucket.PENDING), (Bucket.ISSUED, Bucket.AVAILABLE)})
_TAKE: frozenset[Move] = frozenset({(Bucket.AVAILABLE, Bucket.REDEEMED)})
# What a hold gives back after its lot expired, expires in the same entry.
_UNHOLD: frozenset[Move] = frozenset({(Bucket.HELD, Bucket.AVAILABLE), (Bucket.AVAILABLE, Bucket.EXPIRED)})

LEGAL: dict[EntryKind, frozenset[Move]] = {
    EntryKind.EARN: _ISSUE,
    EntryKind.ADJUST_CREDIT: _ISSUE,
    EntryKind.IMPORT: _ISSUE,
    EntryKind.MATURE: frozenset({(Bucket.PENDING, Bucket.AVAILABLE)}),
    EntryKind.AUTO_CANCEL: frozenset({(Bucket.PENDING, Bucket.REVOKED)}),
    EntryKind.EXPIRE: frozenset({(Bucket.AVAILABLE, Bucket.EXPIRED)}),
    EntryKind.HOLD: frozenset({(Bucket.AVAILABLE, Bucket.HELD)}),
    EntryKind.CAPTURE: frozenset({(Bucket.HELD, Bucket.REDEEMED)}),
    EntryKind.RELEASE: _UNHOLD,
    EntryKind.LAPSE: _UNHOLD,
    EntryKind.REDEEM: _TAKE,
    EntryKind.ADJUST_DEBIT: _TAKE,
    EntryKind.RESTORE: frozenset({(Bucket.REDEEMED, Bucket.AVAILABLE)}),
    EntryKind.REVOKE: frozenset(
        {
            (Bucket.PENDING, Bucket.REVOKED),
            (Bucket.EXPIRED, Bucket.REVOKED),
            (Bucket.AVAILABLE, Bucket.REVOKED),
            (Bucket.DEFICIT, Bucket.REVOKED),
        }
    ),
    EntryKind.REPAY: frozenset({(Bucket.AVAILABLE, Bucket.DEFICIT)}),
    EntryKind.REINSTATE: frozenset({(Bucket.EXPIRED, Bucket.AVAILABLE)}),
    EntryKind.REDATE: frozenset(),
    EntryKind.TRANSFER_OUT: frozenset({(Bucket.AVAILABLE, Bucket.TRANSFERRED)}),
    EntryKind.TRANSFER_IN: frozenset({(Bucket.TRANSFERRED, Bucket.AVAILABLE)}),
}

# Kinds whose entry may also change a lot's dates.
REDATING = frozenset(
    {EntryKind.REDATE, EntryKind.REINSTATE, EntryKind.RELEASE, EntryKind.LAPSE, EntryKind.EXPIRE}
)

_NO_MOVES = frozenset({EntryKind.REDATE})

POSTINGS_MAX = 2**15 - 1  # that an entry counts
LOTS_OF_MANY = (
    8_000  # lots of each entry where one cannot count all: of a lot there are four postings at most
)


def divided(draft: EntryDraft) -> Iterator[EntryDraft]:
    """A draft as entries that can count what they move: what falls due, or is taken back, may be of any number of lots.

    Needs: few lots are issued. What is spent is never divided: it is given back by the entry that took it.
    """
    if len(draft.postings) <= POSTINGS_MAX and len(draft.redates) <= POSTINGS_MAX:
        yield draft
        return
    places = {one.lot_id: 0 for one in (*draft.redates, *draft.postings)}
    shares = {lot_id: place // LOTS_OF_MANY for place, lot_id in enumerate(places)}
    for share in range(1 + max(shares.values())):
        yield replace(
            draft,
            postings=tuple(one for one in draft.postings if shares[one.lot_id] == share),
            redates=tuple(one for one in draft.redates if shares[one.lot_id] == share),
        )


def apply(
    account: Account, lots: dict[UUID, Lot], draft: EntryDraft, *, id: UUID, decision_id: UUID
) -> Entry:
    """Post one draft on the working copies and return the numbered entry with the balance it left.

    `lots` are this account's loaded lots; those the draft issues are put among them. What comes brings
    `account.next_due_at` forward; after points left lots `settle.next_due` says whether it is later now.
    Raises: LawBroken when the posting table or a bound is broken; the working copies are then unusable.
    """
    kind = draft.kind
    at = draft.occurred_at
    if draft.account_id != account.id:
        raise LawBroken(f"draft of account {draft.account_id} applied to {account.id}")
    for lot in draft.lots:
        if lot.id in lots:
            raise LawBroken(f"lot {lot.id} issued twice")
        lot.issuing_entry_id = id
        lots[lot.id] = lot
    for redate in draft.redates:
        lot = lots[redate.lot_id]
        if kind not in REDATING:
            raise LawBroken(f"{kind} cannot change dates")
        if (lot.activates_at, lot.expires_at) != (redate.old_activates_at, redate.old_expires_at):
            raise LawBroken(f"lot {lot.id} does not bear the dates that the redate starts from")
        lot.activates_at = redate.new_activates_at
        lot.expires_at = redate.new_expires_at
        # What a new date makes due is due from now on, not in the past.
        lot.arrived_at = max(lot.arrived_at, at)
        _bring_forward(account, lot)
    if kind is EntryKind.EARN and (account.active_at is None or account.active_at < at):
        account.active_at = at
    legal = LEGAL[kind]
    if not draft.postings and kind not in _NO_MOVES:
        raise LawBroken(f"{kind} moves nothing")
    for posting in draft.postings:
        lot = lots[posting.lot_id]
        points = posting.points
        source = posting.source
        target = posting.target
        if (source, target) not in legal:
            raise LawBroken(f"{kind} cannot move {source} to {target}")
        if not 0 < points <= POINTS_MAX or lot.account_id != account.id:
            raise LawBroken(f"{kind} of {points} points on lot {lot.id}")
        if source is Bucket.AVAILABLE:
            if at < lot.arrived_at:
                raise LawBroken(
                    f"{kind} at {at} takes points of lot {lot.id} before they came at {lot.arrived_at}"
                )
            lot.available -= points
            account.available -= points
            left = lot.available
        elif source is Bucket.ISSUED:
            lot.issued -= points
            left = lot.issued + lot.points  # the whole lot in one posting, once
        elif source is Bucket.PENDING:
            if at < lot.arrived_at:
                raise LawBroken(
                    f"{kind} at {at} takes points of lot {lot.id} before they came at {lot.arrived_at}"
                )
            lot.pending -= points
            account.pending -= points
            left = lot.pending
        elif source is Bucket.HELD:
            lot.held -= points
            account.held -= points
            left = lot.held
        elif source is Bucket.REDEEMED:
            lot.redeemed -= points
            left = lot.redeemed
        elif source is Bucket.EXPIRED:
            lot.expired -= points
            lot.was_expired = True
            left = lot.expired
        elif source is Bucket.DEFICIT:
            lot.deficit -= points
            account.debt += points
            left = 0
        else:  # transferred: a child lot is issued by it
            lot.transferred -= points
            left = lot.transferred + lot.points if lot.parent_lot_id is not None else -1
        if left < 0:
            raise LawBroken(f"{kind} leaves lot {lot.id} below zero in {source}")
        if target is Bucket.AVAILABLE:
            lot.available += points
            account.available += points
            if at > lot.arrived_at:
                lot.arrived_at = at
            _bring_forward(account, lot)
        elif target is Bucket.PENDING:
            lot.pending += points
            account.pending += points
            if at > lot.arrived_at:
                lot.arrived_at = at
            _bring_forward(account, lot)
        elif target is Bucket.HELD:
            lot.held += points
            account.held += points
        elif target is Bucket.REDEEMED:
            lot.redeemed += points
        elif target is Bucket.EXPIRED:
            lot.expired += points
        elif target is Bucket.REVOKED:
            lot.revoked += points
        elif target is Bucket.TRANSFERRED:
            lot.transferred += points
        else:  # deficit
            lot.deficit += points
            account.debt -= points
        if lot.pending + lot.available + lot.held > lot.points:
            raise LawBroken(f"{kind} lifts lot {lot.id} above its issue")
    for lot in draft.lots:
        if lot.issued + lot.points and lot.transferred + lot.points:
            raise LawBroken(f"lot {lot.id} was not issued whole")
    if account.debt < 0:
        raise LawBroken(f"{kind} leaves account {account.id} with less than no debt")
    account.seq += 1
    account.last_entry_id = id
    if account.first_entry_id is None:
        account.first_entry_id = id
    return Entry(
        id=id,
        account_id=account.id,
        seq=account.seq,
        decision_id=decision_id,
        kind=kind,
        occurred_at=at,
        postings=draft.postings,
        cause=draft.cause,
        corrects_entry_id=draft.corrects_entry_id,
        redates=draft.redates,
        lots=draft.lots,
        pending=account.pending,
        available=account.available,
        held=account.held,
        debt=account.debt,
    )


def due_at(account: Account, lot: Lot) -> datetime | None:
    """The instant at which points of a lot of the account mature or expire, never before they came."""
    due = None
    if lot.pending and lot.activates_at is not None:
        due = max(lot.activates_at, lot.arrived_at)
    if lot.available and (end := account.end_of(lot)) is not None:
        expires_at = max(end, lot.arrived_at)
        due = expires_at if due is None or expires_at < due else due
    return due


def _bring_forward(account: Account, lot: Lot) -> None:
    due = due_at(account, lot)
    if due is not None and (account.next_due_at is None or due < account.next_due_at):
        account.next_due_at = due
