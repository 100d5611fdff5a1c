"""What falls due on an account by itself: points activate, debts are repaid, holds lapse, points expire.

Every decision on an account and every read of it begins here, so a late sweep changes no balance.
Source: docs/ledger.md, "Settle first".
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from heapq import heapify, heappop, heappush
from uuid import UUID

from loyalty.base.errors import LawBroken
from loyalty.ledger.holds import lapse
from loyalty.ledger.lots import repay
from loyalty.ledger.postings import due_at
from loyalty.ledger.types import Account, Bucket, EntryDraft, EntryKind, Hold, Lot, Posting

# At the same instant: activate, then lapse, then expire. A debt is repaid as soon as there is something.
_MATURE, _LAPSE, _EXPIRE = 0, 1, 2

# (instant, what, order of arrival, lot or hold)
_Due = tuple[datetime, int, int, Lot | Hold]


def settle(
    account: Account, lots: Mapping[UUID, Lot], holds: Iterable[Hold], now: datetime
) -> Iterator[EntryDraft]:
    """Draft what is due at `now`, by due instant; the caller applies each draft before asking for the next.

    Call it before a command and again after whatever raised available points or debt: it repays debt, and
    expires what came too late. Points never move before they came. A lapsed hold is left without parts.
    Needs: all open lots and holds of the account when its `next_due_at` has come; else nothing need be
    loaded.
    """
    if (
        (account.next_due_at is not None and account.next_due_at <= now)
        or (account.fresh_due_at is not None and account.fresh_due_at <= now)
        or (account.debt and account.available)
    ):
        holds = tuple(holds)
        yield from _settle(account, lots, holds, now)
        account.next_due_at = next_due(account, lots, holds)
        account.fresh_due_at = None
        if account.next_due_at is not None and account.next_due_at <= now:
            raise LawBroken(f"account {account.id} has something due, but not all its open lots are loaded")
    if account.settled_at is None or account.settled_at < now:
        account.settled_at = now


def next_due(account: Account, lots: Mapping[UUID, Lot], holds: Iterable[Hold] = ()) -> datetime | None:
    """The earliest instant at which the account has something due; None: never. What is stored with it.

    With only some of its open lots at hand `next_due_at` still speaks for the others.
    Needs: all open lots and holds, when points were taken from any.
    """
    earliest: datetime | None = None
    pending, available, held = account.pending, account.available, account.held
    for lot in lots.values():
        pending -= lot.pending
        available -= lot.available
        held -= lot.held
        due = due_at(lot)
        if due is not None and (earliest is None or due < earliest):
            earliest = due
    for hold in holds:
        if hold.parts and (earliest is None or hold.lapses_at < earliest):
            earliest = hold.lapses_at
    stored = account.next_due_at
    if (pending or available or held) and stored is not None and (earliest is None or stored < earliest):
        return stored
    return earliest


def _settle(
    account: Account, lots: Mapping[UUID, Lot], holds: tuple[Hold, ...], now: datetime
) -> Iterator[EntryDraft]:
    queue: list[_Due] = []
    count = 0

    def put(due: datetime | None, what: int, item: Lot | Hold) -> None:
        nonlocal count
        if due is not None and due <= now:
            count += 1
            heappush(queue, (due, what, count, item))

    for lot in lots.values():
        if lot.pending and lot.activates_at is not None:
            put(max(lot.activates_at, lot.arrived_at), _MATURE, lot)
        if lot.available and lot.expires_at is not None:
            put(max(lot.expires_at, lot.arrived_at), _EXPIRE, lot)
    for hold in holds:
        if hold.parts:
            put(hold.lapses_at, _LAPSE, hold)
    heapify(queue)

    while True:
        yield from _repayments(account, lots, queue[0][0] if queue else now)
        if not queue:
            return
        at, what, _, item = heappop(queue)
        if isinstance(item, Hold):
            yield lapse(account, lots, item, at)
            raised = [lots[lot_id] for lot_id, _ in item.parts]
            item.parts = ()
        else:
            together = [item]
            while queue and queue[0][:2] == (at, what):
                other = heappop(queue)[3]
                assert isinstance(other, Lot)
                together.append(other)
            if what == _MATURE:
                source, target, kind, raised = Bucket.PENDING, Bucket.AVAILABLE, EntryKind.MATURE, together
            else:
                source, target, kind, raised = Bucket.AVAILABLE, Bucket.EXPIRED, EntryKind.EXPIRE, []
            postings = tuple(
                Posting(lot.id, points, source, target)
                for lot in sorted(together, key=lambda lot: lot.id)
                # A repayment or a second look may have emptied it meanwhile.
                if (points := lot.pending if what == _MATURE else lot.available)
            )
            if postings:
                yield EntryDraft(account.id, kind, at, postings)
        for lot in raised:
            if lot.available and lot.expires_at is not None:
                put(max(lot.expires_at, lot.arrived_at), _EXPIRE, lot)


def _repayments(account: Account, lots: Mapping[UUID, Lot], until: datetime) -> Iterator[EntryDraft]:
    """Repay debt with what came by `until`, not before the points came nor before a debt that is older news.

    A copy settled up to an instant learned all its debt by then, so points recorded late repay from there on.
    """
    while account.debt and account.available:
        at = min(lot.arrived_at for lot in lots.values() if lot.available)
        if account.settled_at is not None:
            at = max(at, account.settled_at)
        draft = repay(account, lots, at) if at <= until else None
        if draft is None:
            return
        owed = account.debt
        yield draft
        if account.debt >= owed:
            raise LawBroken("a draft of settle was not applied before the next was asked for")
