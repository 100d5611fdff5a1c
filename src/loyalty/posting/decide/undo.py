"""Cancel a whole purchase by its receipt: what it spent goes back to its lots, what it earned is taken from its own
ones, caps are given back.

A cancel may come before its purchase: it then claims the purchase's natural key, and the late original is refused.
"""

from uuid import UUID

import msgspec

from loyalty.ledger.types import EntryKind
from loyalty.ledger.undo import restore, revoke
from loyalty.members.types import MemberStatus
from loyalty.posting.answers import Balance, CancelAnswer, Receipt, Restored, Revoked
from loyalty.posting.book import ActivityKey, Work
from loyalty.posting.commands import CancelPurchase
from loyalty.posting.decide.outcome import Outcome, Replay, balances, reaches
from loyalty.posting.detail import AwardedLot, CapturedHold, Detail
from loyalty.posting.types import PurchaseNotFound
from loyalty.rules.types import CounterKey

CANCELLED = "purchase_cancelled"


def cancel(work: Work, command: CancelPurchase) -> Outcome:
    """The outcome of one cancel; posts the undoing entries on `work`."""
    name = ("cancel", command.source, command.external_id)
    seen = work.book.name(name)
    if seen is not None:
        raise Replay(seen.cell, seen.decision_id)
    purchase = work.book.name(("purchase", command.source, command.external_id))
    if purchase is None:
        return _remember(work, command)
    activity = work.book.activity(purchase.cell, purchase.activity_id)
    assert activity is not None, "a natural key without its activity"
    if not reaches(work, activity.location):
        raise PurchaseNotFound
    member_id = activity.member_id
    cell = work.book.home(member_id) if member_id else 0
    work.book.need_cells([cell, purchase.cell])
    revoked: tuple[Revoked, ...] = ()
    restored: tuple[Restored, ...] = ()
    counted: tuple[tuple[str, str, int], ...] = ()
    undone = work.book.decision(
        cell if activity.awarded_by != activity.decision_id else purchase.cell, activity.awarded_by
    )
    if member_id is not None:
        detail = msgspec.json.decode(undone.detail, type=Detail)
        # First what comes back: the member need not owe what she has again. To the erased nothing comes back.
        if detail.captured and work.book.member(member_id).status is not MemberStatus.ERASED:
            restored = tuple(_restore(work, member_id, one) for one in detail.captured)
        revoked = tuple(_revoke(work, member_id, lot) for lot in detail.lots)
        counted = tuple((rule, period, -points) for rule, period, points in detail.counted)
        for rule, period, points in counted:
            work.count(member_id, CounterKey(rule, period), points)
    work.cancelled.add(("purchase", command.source, command.external_id))
    work.touched.add(purchase.cell)
    work.new_names[name] = ActivityKey("recorded", purchase.activity_id, cell, work.decision_id, b"cancel")
    after = balances(work, member_id)
    taken, given = sum(one.points for one in revoked), sum(one.points for one in restored)
    lines = (
        *((f"{taken:,} points taken back",) if taken else ()),
        *((f"{given:,} points given back",) if given else ()),
    )
    return _outcome(
        work,
        command,
        cell,
        purchase.activity_id,
        member_id,
        Detail(counted=counted, undoes=undone.id, lots=()),
        revoked,
        Receipt((*(lines or ("Purchase cancelled",)), *_balance_lines(after))),
        restored,
    )


def _balance_lines(after: tuple[Balance, ...]) -> tuple[str, ...]:
    return tuple(f"Balance {balance.available:,}" for balance in after[:1])


def _remember(work: Work, command: CancelPurchase) -> Outcome:
    """The purchase never came: its key is claimed, so that it is refused when it does."""
    work.book.need_cells([0])
    activity_id = work.book.ids()
    work.new_names["purchase", command.source, command.external_id] = ActivityKey(
        "cancelled", activity_id, 0, work.decision_id, b""
    )
    work.new_names["cancel", command.source, command.external_id] = ActivityKey(
        "recorded", activity_id, 0, work.decision_id, b"cancel"
    )
    return _outcome(
        work,
        command,
        0,
        activity_id,
        None,
        Detail(note={"before_arrival": True}),
        (),
        Receipt(("Purchase cancelled",)),
    )


def _revoke(work: Work, member_id: UUID, lot: AwardedLot) -> Revoked:
    """Take one lot of the purchase back: from itself, then from others, then as debt or forgiven by policy."""
    account = work.account(member_id, lot.points_currency)
    assert account is not None
    owned = work.lots_of(account, (lot.lot_id,))
    policy = work.policies.currencies[lot.points_currency]
    # Whoever was erased owes nothing any more: debts were waived then, and none arises afterwards.
    erased = work.book.member(member_id).status is MemberStatus.ERASED
    taken = 0
    for draft in revoke(
        account,
        owned,
        {lot.lot_id: lot.points},
        work.now,
        others=True,
        negative="waive" if erased else policy.negative,
        floor=policy.floor,
        cause=CANCELLED,
    ):
        taken += sum(posting.points for posting in draft.postings)
        work.post(account, draft)
    work.settle(account)
    return Revoked(lot.points_currency, taken, lot.points - taken, account.debt)


def _restore(work: Work, member_id: UUID, taken: CapturedHold) -> Restored:
    """Give back what was captured, to the lots it came from; those whose end has come expire at once."""
    account = work.account(member_id, taken.points_currency)
    assert account is not None
    work.lots_of(account, [lot_id for lot_id, _ in taken.parts])
    work.post(account, restore(account, taken.parts, work.now, CANCELLED, taken.entry_id))
    before = len(work.entries)
    work.settle(account)
    expired = [entry for entry in work.entries[before:] if entry.kind is EntryKind.EXPIRE]
    return Restored(
        taken.points_currency,
        sum(points for _, points in taken.parts),
        sum(posting.points for entry in expired for posting in entry.postings),
    )


def _outcome(
    work: Work,
    command: CancelPurchase,
    cell: int,
    activity_id: UUID,
    member_id: UUID | None,
    detail: Detail,
    revoked: tuple[Revoked, ...],
    receipt: Receipt,
    restored: tuple[Restored, ...] = (),
) -> Outcome:
    return Outcome(
        kind="cancel",
        cell=cell,
        member_id=member_id,
        activity_id=activity_id,
        occurred_at=work.now,  # a debit occurs when decided; the till's time is `reported_at`
        detail=detail,
        status=201,
        answer=CancelAnswer(
            id=activity_id,
            status="cancelled",
            member_id=member_id,
            revoked=revoked,
            balances=balances(work, member_id),
            receipt=receipt,
            recorded_at=work.now,
            decision_id=work.decision_id,
            restored=restored,
        ),
        event="loyalty.purchase.cancelled",
        event_data={
            "purchase_id": activity_id,
            "source": command.source,
            "external_id": command.external_id,
            "reported_at": command.reported_at,
        },
    )
