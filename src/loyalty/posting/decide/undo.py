"""Take back what a purchase earned and give back what it spent: with what goes back of it, or all when it is cancelled.

The stored awards of the purchase say what was earned on which line; today's rules and policies of earning play no
part. A cancel is a return of all that is left, and may come before its purchase: it then claims the purchase's
natural key, and the late original is refused.
"""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from loyalty.base.calendar import local_date, midnight
from loyalty.base.canonical import name_digest
from loyalty.conditions.types import MemberFacts
from loyalty.ledger.lots import Parts
from loyalty.ledger.undo import forfeit, reinstate, restore, revoke
from loyalty.members.types import MemberStatus
from loyalty.posting import returned
from loyalty.posting.answers import Balance, CancelAnswer, Receipt, Restored, Revoked
from loyalty.posting.book import Activity, ActivityKey, Work
from loyalty.posting.commands import CancelPurchase
from loyalty.posting.content import Content
from loyalty.posting.decide.outcome import Outcome, Replay, balances, reaches
from loyalty.posting.decide.people import ERASED
from loyalty.posting.decide.standing import gives_back
from loyalty.posting.detail import CapturedHold, Detail, ReturnedPart
from loyalty.posting.types import PurchaseNotFound
from loyalty.rules.evaluate import no_longer
from loyalty.rules.explain import back_lines
from loyalty.rules.types import CounterKey

CANCELLED, RETURNED = "purchase_cancelled", "purchase_returned"


class TakenBack(Struct, frozen=True):
    """What an undo took, for its decision and its answer."""

    undoes: UUID | None
    back: tuple[int, ...] = ()  # points of each award
    unmet: tuple[int, ...] = ()
    counted: tuple[tuple[str, str, int], ...] = ()
    revoked: tuple[Revoked, ...] = ()
    given: tuple[int, ...] = ()  # points given back of each hold that was captured
    restored: tuple[Restored, ...] = ()


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
    taken = take_back(work, activity, purchase.cell, None, None, CANCELLED)
    cell = work.book.home(activity.member_id) if activity.member_id else 0
    work.cancelled.add(("purchase", command.source, command.external_id))
    work.touched.add(purchase.cell)
    work.new_names[name] = ActivityKey("recorded", purchase.activity_id, cell, work.decision_id, b"cancel")
    after = balances(work, activity.member_id)
    return _outcome(
        work,
        command,
        cell,
        purchase.activity_id,
        activity.member_id,
        Detail(counted=taken.counted, undoes=taken.undoes, back=taken.back, given=taken.given),
        taken.revoked,
        receipt(work, taken, after, "Purchase cancelled"),
        taken.restored,
    )


def take_back(
    work: Work,
    activity: Activity,
    at: int,
    left: Sequence[int] | None,
    going: ReturnedPart | None,
    cause: str,
) -> TakenBack:
    """Take what goes with all that is no longer left of a purchase, give it back to its caps, and what it spent too.

    `at` is the cell of the purchase; `left` the units that are left of each of its lines, None when nothing is; `going`
    what goes now, None when that is all that was left.
    """
    member_id = activity.member_id
    cell = work.book.home(member_id) if member_id else 0
    work.book.need_cells([cell, at])
    undone = work.book.decision(
        cell if activity.awarded_by != activity.decision_id else at, activity.awarded_by
    )
    if member_id is None:
        return TakenBack(undone.id)
    detail = msgspec.json.decode(undone.detail, type=Detail)
    parts = work.book.returns.get(activity.id, ())
    unmet: tuple[int, ...] = ()
    wanted = [award.points for award in detail.awards]
    spent = [one.points for one in detail.captured]
    if left is not None:
        assert activity.content is not None, "what is left was read from the lines"
        content = msgspec.json.decode(activity.content, type=Content)
        whole = detail.left or returned.units(content.lines)
        unmet = _unmet(work, activity, content, detail, whole, left) if any(left) else ()
        wanted = [
            award.points if index in unmet else returned.gone(award, whole, left)
            for index, award in enumerate(detail.awards)
        ]
        spent = [returned.spent(content.lines, points, whole, left) for points in spent]
    # First what comes back: the member need not owe what she has again. To the erased nothing comes back.
    erased = work.book.member(member_id).status is MemberStatus.ERASED
    given = () if erased else returned.due(spent, [part.given for part in parts])
    if given:
        _know_captured(work, member_id, detail.captured)
    restored = tuple(
        _restore(work, member_id, one, points, sum(part.given[index] for part in parts if part.given), cause)
        for index, (one, points) in enumerate(zip(detail.captured, given, strict=False))
        if points
    )
    back = returned.due(wanted, [part.taken for part in parts])
    of_rule = {award.rule_id: points for award, points in zip(detail.awards, back, strict=True)}
    counted = tuple(
        (rule_id, period, -of_rule[rule_id]) for rule_id, period, _ in detail.counted if of_rule[rule_id]
    )
    work.book.know_counters((member_id, CounterKey(rule_id, period)) for rule_id, period, _ in counted)
    for rule_id, period, points in counted:
        work.count(member_id, CounterKey(rule_id, period), points)
    own: dict[str, dict[UUID, int]] = {}  # by points currency: points of each lot
    for index, points in enumerate(back):
        if points:
            lot = detail.lot_of(index)
            lots = own.setdefault(lot.points_currency, {})
            lots[lot.lot_id] = lots.get(lot.lot_id, 0) + points
    revoked = tuple(_revoke(work, member_id, code, lots, cause) for code, lots in own.items())
    gone_before = [part.returned for part in parts]
    gives_back(
        work,
        work.book.member(member_id),
        activity.occurred_at,
        going.amount_minor if going else activity.amount_minor - sum(p.amount_minor for p in gone_before),
        ((award.points_currency, points) for award, points in zip(detail.awards, back, strict=True)),
        complete=going.complete if going else not any(p.complete for p in gone_before),
    )
    gone = tuple(index for index in unmet if back[index])
    return TakenBack(undone.id, back, gone, counted, revoked, given, restored)


def _unmet(
    work: Work,
    activity: Activity,
    content: Content,
    detail: Detail,
    whole: Sequence[int],
    left: Sequence[int],
) -> tuple[int, ...]:
    """Awards that go whole: their rules want it so, and what is left no longer fulfils their conditions."""
    assert detail.judged_by is not None
    basis = {code: returned.kept(figures, whole, left) for code, figures in detail.basis.items()}
    facts = replace(
        returned.facts_judged(content, activity.occurred_at, basis, left),
        member=MemberFacts(tiers=detail.tiers),
    )
    ids = {award.rule_id for award in detail.awards}
    unmet = no_longer(work.book.history.numbered(detail.judged_by).compiled, ids, facts)
    return tuple(index for index, award in enumerate(detail.awards) if award.rule_id in unmet)


def receipt(work: Work, taken: TakenBack, after: Sequence[Balance], otherwise: str) -> Receipt:
    """The receipt's texts of points taken and given back; `otherwise` is said when there were none."""
    return Receipt(back_lines(taken.revoked, taken.restored, after, work.policies.currencies, otherwise))


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


def _revoke(work: Work, member_id: UUID, code: str, lots: dict[UUID, int], cause: str) -> Revoked:
    """Take points of some lots back: from themselves, then from others, then as debt or forgiven by policy."""
    account = work.account(member_id, code)
    assert account is not None
    owned = work.lots_of(account, lots)
    policy = work.policies.currencies[code]
    # Whoever was erased owes nothing any more: debts were waived then, and none arises afterwards.
    erased = work.book.member(member_id).status is MemberStatus.ERASED
    taken = 0
    for draft in revoke(
        account,
        owned,
        lots,
        work.now,
        negative="waive" if erased else policy.negative,
        floor=policy.floor,
        cause=cause,
    ):
        taken += sum(posting.points for posting in draft.postings)
        work.post(account, draft)
    work.settle(account)
    return Revoked(code, taken, sum(lots.values()) - taken, account.debt)


def _restore(
    work: Work, member_id: UUID, taken: CapturedHold, points: int, before: int, cause: str
) -> Restored:
    """Give points of a capture back.

    What was taken last comes back first, behind what `before` came back: those are the points that end last.
    """
    parts = returned.taken_last(taken.parts, before, points)
    return put_back(work, member_id, taken.points_currency, parts, cause, taken.entry_id)


def _know_captured(work: Work, member_id: UUID, captured: Sequence[CapturedHold]) -> None:
    """Ask for the lots of all captures of an account at once, instead of capture by capture."""
    lots: dict[str, set[UUID]] = {}
    for one in captured:
        lots.setdefault(one.points_currency, set()).update(lot_id for lot_id, _ in one.parts)
    for code, wanted in lots.items():
        account = work.account(member_id, code)
        assert account is not None, "points that were spent from no account"
        work.lots_of(account, wanted)


def put_back(
    work: Work, member_id: UUID, points_currency: str, parts: Parts, cause: str, spent_by: UUID
) -> Restored:
    """Give points that were spent, by the entry `spent_by`, back to the lots they came from.

    Where a lot's end has come meanwhile they are lost at once, or good for the days that the program's policy
    says, today the first. Points of the erased are lost. Raises: BalanceLimitExceeded.
    """
    member = work.book.member(member_id)
    account = work.account(member.id, points_currency)
    assert account is not None, "points that were spent from no account"
    owned = work.lots_of(account, [lot_id for lot_id, _ in parts])
    expired = {lot_id: owned[lot_id].expired for lot_id, _ in parts}
    points = sum(part for _, part in parts)
    work.post(account, restore(account, parts, work.now, cause, spent_by))
    work.settle(account)
    if member.status is MemberStatus.ERASED:
        for draft in forfeit(account, owned, work.now, ERASED):
            work.post(account, draft)
        return Restored(points_currency, points, points)
    over = tuple((lot_id, more) for lot_id, was in expired.items() if (more := owned[lot_id].expired - was))
    late = sum(part for _, part in over)
    days, zone = work.policies.settings.policies.returned_days, work.policies.zone
    if not late or not days:
        return Restored(points_currency, points, late)
    ends_at = midnight(local_date(work.now, zone) + timedelta(days=days), zone)
    work.post(account, reinstate(account, owned, over, work.now, ends_at, cause))
    work.settle(account)
    return Restored(points_currency, points, 0, late)


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
        detail=msgspec.structs.replace(detail, named=name_digest(command.source, command.external_id)),
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
