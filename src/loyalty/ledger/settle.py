"""What falls due on an account by itself: points activate, debts are repaid, holds lapse, points expire.

Every decision on an account and every read of it begins here, so a late sweep changes no balance.
Source: docs/ledger.md, "Settle first".
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from heapq import heappop, heappush
from uuid import UUID

from loyalty.base.errors import LawBroken
from loyalty.ledger.holds import lapse
from loyalty.ledger.lots import ended, moves, repay
from loyalty.ledger.postings import due_at
from loyalty.ledger.types import Account, Bucket, EntryDraft, EntryKind, Hold, Lot

# At the same instant: activate, then lapse, then expire. A debt is repaid as soon as there is something.
_MATURE, _LAPSE, _EXPIRE = 0, 1, 2


def settle(
    account: Account, lots: Mapping[UUID, Lot], holds: Iterable[Hold], now: datetime
) -> Iterator[EntryDraft]:
    """Draft what is due at `now`, by due instant; the caller applies each draft before asking for the next.

    Call it before a command and again after whatever raised available points or debt: it repays, and it
    expires what came too late. Points never move before they came. A hold that lapses is ended in place.
    Needs: all open lots and holds of the account when its `next_due_at` has come; else none.
    """
    if (account.next_due_at is not None and account.next_due_at <= now) or (
        account.debt and account.available
    ):
        # Two that lapse at one instant do so in the order in which they were placed, for whoever settles.
        holds = tuple(sorted(holds, key=lambda hold: hold.id))
        yield from _due(account, lots, holds, now)
        if sum(lot.pending + lot.available for lot in lots.values()) != account.pending + account.available:
            raise LawBroken(f"account {account.id} was settled without all its open lots")
        if sum(hold.held for hold in holds) != account.held:
            raise LawBroken(f"account {account.id} was settled without all its open holds")
        account.next_due_at = next_due(account, lots, holds)
    if account.settled_at is None or account.settled_at < now:
        account.settled_at = now


def next_due(account: Account, lots: Mapping[UUID, Lot], holds: Iterable[Hold] = ()) -> datetime | None:
    """The earliest instant at which `account` has something due; None: never.

    Needs: all its open lots and holds.
    """
    earliest: datetime | None = None
    for lot in lots.values():
        due = due_at(account, lot)
        if due is not None and (earliest is None or due < earliest):
            earliest = due
    for hold in holds:
        if hold.parts and (earliest is None or hold.lapses_at < earliest):
            earliest = hold.lapses_at
    return earliest


def _due(
    account: Account, lots: Mapping[UUID, Lot], holds: tuple[Hold, ...], now: datetime
) -> Iterator[EntryDraft]:
    # (due instant, what, order of arrival, lot or hold)
    queue: list[tuple[datetime, int, int, Lot | Hold]] = []
    count = 0

    def put(due: datetime, what: int, item: Lot | Hold) -> None:
        nonlocal count
        if due <= now:
            count += 1
            heappush(queue, (due, what, count, item))

    for lot in lots.values():
        if lot.pending and lot.activates_at is not None:
            put(max(lot.activates_at, lot.arrived_at), _MATURE, lot)
        if lot.available and (end := account.end_of(lot)) is not None:
            put(max(end, lot.arrived_at), _EXPIRE, lot)
    for hold in holds:
        if hold.parts:
            put(hold.lapses_at, _LAPSE, hold)

    while queue:
        at, what, _, item = heappop(queue)
        if isinstance(item, Hold):
            came = [lots[lot_id] for lot_id, _ in item.parts]
            yield lapse(account, lots, item)
        else:
            due = {item.id: item}  # a lot may stand in the queue twice: put again when points came back to it
            while queue and queue[0][:2] == (at, what):
                same = heappop(queue)[3]
                assert isinstance(same, Lot)
                due[same.id] = same
            together = [due[id] for id in sorted(due)]
            draft = _together(account, together, at, what)
            if draft is None:  # a repayment took it meanwhile
                continue
            yield draft
            came = together if what == _MATURE else []
        if not came:
            continue
        # What came before the copy was settled came late: it repays from now on (below), not in the past,
        # when there may have been no debt yet.
        if account.debt and (account.settled_at is None or account.settled_at <= at):
            draft = repay(account, lots, at)
            if draft is not None:
                yield draft
        for lot in came:
            if lot.available and (end := account.end_of(lot)) is not None:
                put(max(end, lot.arrived_at), _EXPIRE, lot)

    draft = repay(account, lots, now)
    if draft is not None:
        yield draft


def _together(account: Account, lots: list[Lot], at: datetime, what: int) -> EntryDraft | None:
    """One entry for all lots that mature, or expire, at the same instant."""
    if what == _MATURE:
        parts = tuple((lot.id, lot.pending) for lot in lots if lot.pending)
        postings = moves(parts, Bucket.PENDING, Bucket.AVAILABLE)
        return EntryDraft(account.id, EntryKind.MATURE, at, postings) if postings else None
    # Not those that a hold's grace gave a later date at this very instant.
    over = [lot for lot in lots if lot.available and (due_at(account, lot) or at) <= at]
    postings = moves(tuple((lot.id, lot.available) for lot in over), Bucket.AVAILABLE, Bucket.EXPIRED)
    if not postings:
        return None
    return EntryDraft(account.id, EntryKind.EXPIRE, at, postings, redates=ended(account, over))
