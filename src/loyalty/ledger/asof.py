"""An account as it was: its entries replayed up to an instant, then settled there.

Which entries were known is the caller's: it passes those recorded by some instant. Whether a sweep had come
makes no difference. Source: docs/ledger.md, "As of".
"""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from loyalty.base.ids import NIL
from loyalty.ledger.postings import apply
from loyalty.ledger.settle import settle
from loyalty.ledger.types import Account, Entry, EntryDraft, Hold, Lot


def replay(
    account_id: UUID, owner_id: UUID, points_currency: str, entries: Iterable[Entry], as_of: datetime
) -> tuple[Account, dict[UUID, Lot]]:
    """The account and its lots from the entries that occurred by `as_of`.

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
        apply(account, lots, draft, id=entry.id, decision_id=entry.decision_id)
    return account, lots


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
    )
