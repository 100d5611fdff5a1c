"""An account as it was: its entries replayed up to an instant, then settled there.

Which entries were known is the caller's: it passes those recorded by some instant. Whether a sweep had come
makes no difference. Source: docs/ledger.md, "As of".
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from loyalty.base.ids import NIL
from loyalty.ledger.expiry import stir
from loyalty.ledger.postings import apply
from loyalty.ledger.settle import settle
from loyalty.ledger.types import Account, Bucket, Deadline, Entry, EntryDraft, EntryKind, Hold, Lot


def replay(
    account_id: UUID,
    owner_id: UUID,
    points_currency: str,
    entries: Iterable[Entry],
    as_of: datetime,
    zone: ZoneInfo,
) -> tuple[Account, dict[UUID, Lot]]:
    """The account and its lots from the entries that occurred by `as_of`; when it is next due, is the caller's.

    Needs: entries of the account by `seq`.
    """
    account = Account(account_id, owner_id, points_currency)
    lots: dict[UUID, Lot] = {}
    for entry in entries:
        if entry.occurred_at > as_of:
            continue
        draft = EntryDraft(
            account_id,
            entry.kind,
            entry.occurred_at,
            entry.postings,
            entry.cause,
            entry.corrects_entry_id,
            entry.redates,
            tuple(_issued(lot, entry) for lot in entry.lots),
        )
        stir(account, apply(account, lots, draft, id=entry.id, decision_id=entry.decision_id), zone)
    return account, lots


def held_then(
    account_id: UUID,
    entries: Iterable[Entry],
    deadlines: Mapping[UUID, Sequence[Deadline]],
    as_of: datetime,
    recorded_by: datetime,
) -> list[Hold]:
    """The holds that were open by the entries that occurred by `as_of`, with the deadline each had then.

    `deadlines`: all that a hold ever had, in order. One that was set later, or was not yet known, does not count.
    """
    left: dict[UUID, dict[UUID, int]] = {}
    for entry in entries:
        if entry.occurred_at > as_of:
            continue
        if entry.kind is EntryKind.HOLD:
            left[entry.id] = {posting.lot_id: posting.points for posting in entry.postings}
            continue
        for posting in entry.postings:
            if posting.source is Bucket.HELD:
                assert entry.corrects_entry_id is not None, "held points that leave no hold"
                left[entry.corrects_entry_id][posting.lot_id] -= posting.points
    found: list[Hold] = []
    for id, lots in left.items():
        parts = tuple((lot_id, points) for lot_id, points in lots.items() if points)
        if parts:
            known = [one for one in deadlines[id] if one.set_at <= min(as_of, recorded_by)]
            last = known[-1]
            found.append(Hold(id, account_id, known[0].set_at, last.lapses_at, parts, last.good_until))
    return found


def settle_here(account: Account, lots: dict[UUID, Lot], holds: Iterable[Hold], now: datetime) -> None:
    """Apply what is due at `now` to copies that nobody will store."""
    for draft in settle(account, lots, holds, now):
        apply(account, lots, draft, id=NIL, decision_id=NIL)


def _issued(lot: Lot, entry: Entry) -> Lot:
    """The lot as its entry issued it, before anything was moved."""
    return Lot(
        id=lot.id,
        account_id=lot.account_id,
        parent_lot_id=lot.parent_lot_id,
        issuing_entry_id=entry.id,
        decision_id=lot.decision_id,
        points=lot.points,
        vintage_at=lot.vintage_at,
        policy_number=lot.policy_number,
        issued_activates_at=lot.issued_activates_at,
        issued_expires_at=lot.issued_expires_at,
        activates_at=lot.issued_activates_at,
        expires_at=lot.issued_expires_at,
        arrived_at=entry.occurred_at,
        slides=lot.slides,
    )
