"""Points without a purchase of their own: import of opening lots, claim of a guest's purchase."""

from datetime import timedelta

import msgspec

from loyalty.base.canonical import name_digest
from loyalty.ledger.expiry import Dates, sliding
from loyalty.ledger.types import EntryKind
from loyalty.posting import returned
from loyalty.posting.answers import ImportAnswer, PurchaseAnswer, SettledAnswer
from loyalty.posting.book import ActivityKey, Work
from loyalty.posting.commands import ClaimPurchase, ImportLot, MemberRef, Settle
from loyalty.posting.content import Content, row_sha256
from loyalty.posting.decide.outcome import (
    Outcome,
    Replay,
    active,
    awarded_lot,
    balances,
    credit,
    currency_of,
    detail_of,
    earned,
    reaches,
    receipt,
)
from loyalty.posting.decide.purchase import award, meant
from loyalty.posting.decide.standing import does, review_all, shown
from loyalty.posting.detail import Detail
from loyalty.posting.returned import facts_judged, placed
from loyalty.posting.types import (
    ActivityDiffers,
    AlreadyClaimed,
    AlreadyReturned,
    ClaimTooLate,
    DatesContradict,
    InFuture,
    NothingDue,
    PurchaseCancelled,
    PurchaseNotFound,
)
from loyalty.rules.evaluate import evaluate


def import_lot(work: Work, command: ImportLot) -> Outcome:
    """An opening lot with its original dates; one that is due already is issued and expired at once."""
    name = ("import_row", command.source, command.external_id)
    held = work.book.name(name)
    if held is not None:
        if held.content_digest in command.content_digests:
            raise Replay(held.cell, held.decision_id)
        # As of a purchase: digested under a secret of then, the same row of the same member is known all the same.
        owner = meant(work, command.member)
        if owner is not None and row_sha256(command, owner) == detail_of(work, held).content_sha256:
            raise Replay(held.cell, held.decision_id)
        raise ActivityDiffers(first_id=held.activity_id, differs=[])
    member = active(work.book.resolve(command.member))
    currency = currency_of(work, command.points_currency)
    if command.issued_at > work.now:
        raise InFuture(occurred_at=command.issued_at, minutes_max=0)
    dates = None
    if command.activates_at is not None or command.expires_at is not None:
        _refuse_contradiction(command)
        slides = None if command.expires_at is None else sliding(currency.expiry)
        dates = Dates(command.activates_at, command.expires_at, slides)
    account, entry = credit(
        work,
        member.id,
        currency,
        command.points,
        kind=EntryKind.IMPORT,
        occurred_at=command.issued_at,
        dated_by=work.policies,
        dates=dates,
    )
    cell = work.book.home(member.id)
    activity_id = work.book.ids()
    work.new_names[name] = ActivityKey(
        "recorded",
        activity_id,
        cell,
        work.decision_id,
        command.content_digests[0] if command.content_digests else b"",
    )
    return Outcome(
        kind="import_lot",
        cell=cell,
        member_id=member.id,
        activity_id=activity_id,
        occurred_at=command.issued_at,
        detail=Detail(
            content_sha256=row_sha256(command, member.id),
            named=name_digest(command.source, command.external_id),
            lots=(awarded_lot(account, entry),),
            note={"source": command.source},
        ),
        status=201,
        answer=ImportAnswer(
            id=activity_id,
            member_id=member.id,
            earned=(earned(work, account, entry, work.policies),),
            balances=balances(work, member.id),
            recorded_at=work.now,
            decision_id=work.decision_id,
        ),
        event="loyalty.points.imported",
        event_data={
            "import_id": activity_id,
            "source": command.source,
            "external_id": command.external_id,
            "points_currency": currency.code,
            "points": command.points,
        },
    )


def settle_due(work: Work, command: Settle) -> Outcome:
    """Write what has fallen due on the member's accounts, each entry at its own instant, and review its tiers.

    Raises: NothingDue.
    """
    member = work.book.resolve(MemberRef(id=command.member_id))
    after = balances(work, member.id)  # settles every account
    if not review_all(work, member) and not work.entries:
        raise NothingDue
    return Outcome(
        kind="settle",
        cell=work.book.home(member.id),
        member_id=member.id,
        activity_id=None,
        occurred_at=work.now,
        detail=Detail(),
        status=200,
        answer=SettledAnswer(member.id, after, work.now, work.decision_id),
        event=None,
        event_data={},
    )


def _refuse_contradiction(command: ImportLot) -> None:
    """Points must be issued, become available and expire in this order."""
    begins = max(command.issued_at, command.activates_at or command.issued_at)
    if command.expires_at is not None and command.expires_at <= begins:
        raise DatesContradict(expires_at=command.expires_at, begins_at=begins)


def claim(work: Work, command: ClaimPurchase) -> Outcome:
    """A guest's purchase becomes a member's, once, judged by the rules that judged it when it was recorded.

    The same member's claim again has the first answer, under any key.
    """
    work.book.need_cells([0])  # guests' purchases live in the program's own lane
    activity = work.book.activity(0, command.purchase_id)
    if activity is None and not work.book.lies_elsewhere(command.purchase_id):
        raise PurchaseNotFound
    if activity is not None:
        stored = work.book.decision(0, activity.decision_id)
        if stored.kind != "purchase" or not reaches(work, activity.location):
            raise PurchaseNotFound
    member = work.book.resolve(command.member)
    if (
        activity is not None
        and activity.awarded_by != activity.decision_id
        and activity.member_id == member.id
    ):
        raise Replay(work.book.home(member.id), activity.awarded_by)
    active(member)
    if activity is None or activity.member_id is not None:
        raise AlreadyClaimed(purchase_id=command.purchase_id)
    if work.book.purchase_state(activity.id) == "cancelled":
        raise PurchaseCancelled(purchase_id=activity.id)
    parts = [part.returned for part in work.book.returns.get(activity.id, ())]
    if any(part.complete for part in parts):
        raise AlreadyReturned(purchase_id=activity.id)
    days_max = work.policies.settings.policies.claim_days_max
    if activity.occurred_at < work.now - timedelta(days=days_max):
        raise ClaimTooLate(occurred_at=activity.occurred_at, claim_days_max=days_max)
    if activity.content is None:  # retention took the lines that the rules would judge
        raise ClaimTooLate(occurred_at=activity.occurred_at, claim_days_max=days_max)
    content = msgspec.json.decode(activity.content, type=Content)
    detail = msgspec.json.decode(work.book.decision(0, activity.decision_id).detail, type=Detail)
    # Not looked up by time: another may have been put in force at the very instant of the purchase, behind it.
    assert detail.judged_by is not None
    judged_by = work.book.history.numbered(detail.judged_by)
    basis, left = detail.basis, ()
    if parts:  # what went back is not judged
        bought = returned.units(content.lines)
        left = returned.left_after(bought, parts)
        basis = {code: returned.kept(figures, bought, left) for code, figures in basis.items()}
    facts = facts_judged(content, activity.occurred_at, basis, left)
    given = award(work, member, facts, judged_by, evaluate(judged_by.compiled, facts, {}))
    awards = placed(given.awards, left)
    spend_minor = activity.amount_minor - sum(part.amount_minor for part in parts)
    does(work, member, activity.occurred_at, spend_minor, awards)
    work.changed_activities[activity.id] = (
        0,
        msgspec.structs.replace(activity, member_id=member.id, awarded_by=work.decision_id),
    )
    work.touched.add(0)
    after = balances(work, member.id)
    return Outcome(
        kind="claim",
        cell=work.book.home(member.id),
        member_id=member.id,
        activity_id=activity.id,
        occurred_at=activity.occurred_at,
        detail=Detail(
            content_sha256=detail.content_sha256,
            basis=basis,
            judged_by=judged_by.number,
            awards=awards,
            counted=given.counted,
            lots=given.lots,
            into=given.into,
            left=left,
            tiers=given.tiers,
        ),
        status=201,
        answer=PurchaseAnswer(
            id=activity.id,
            status="recorded",
            member_id=member.id,
            earned=given.earned,
            balances=after,
            standing=shown(work, member),
            receipt=receipt(work, judged_by, awards, given.lots, after),
            ruleset_version=judged_by.ruleset.version,
            recorded_at=work.now,
            decision_id=work.decision_id,
        ),
        event="loyalty.purchase.claimed",
        event_data={
            "purchase_id": activity.id,
            "awards": [
                {"rule_id": a.rule_id, "points_currency": a.points_currency, "points": a.points}
                for a in awards
            ],
        },
    )
