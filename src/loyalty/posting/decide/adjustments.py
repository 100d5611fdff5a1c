"""Points given or taken by hand: at once, or proposed by one person and decided by another.

What the program lets one person do alone stands in its policy `adjustments`. A proposal is decided on the points
there are when it is approved. Order of checks: docs/adjustments.md.
"""

from datetime import datetime, timedelta
from uuid import UUID

from msgspec import structs

from loyalty.base.calendar import local_date, midnight
from loyalty.ledger import lots, undo
from loyalty.ledger.expiry import Dates, last_day_on
from loyalty.ledger.types import WAIVED, Account, EntryDraft, EntryKind, Lot
from loyalty.posting.answers import AdjustmentAnswer, Earned, ProposalAnswer, ReinstatementAnswer
from loyalty.posting.book import Proposal, ProposalKind, Work
from loyalty.posting.commands import Adjust, Approve, MemberRef, Reinstate, Reject, WriteOff
from loyalty.posting.decide.limits import within_limits
from loyalty.posting.decide.outcome import (
    Outcome,
    active,
    awarded_lot,
    balances,
    credit,
    currency_of,
    earned,
    spendable,
)
from loyalty.posting.detail import AwardedLot, Detail
from loyalty.posting.types import (
    AdjustmentLimit,
    NothingOwed,
    OwnProposal,
    PeopleOnly,
    ProposalDecided,
    ProposalLapsed,
    ProposalNotFound,
    ReasonUnknown,
    ReinstatementsOff,
    TooFewExpired,
)
from loyalty.programs.types import OWN_CAUSES, PointsCurrency
from loyalty.rules.types import CounterKey

Given = tuple[tuple[Earned, ...], tuple[AwardedLot, ...]]


def adjust(work: Work, command: Adjust) -> Outcome:
    """A manual credit or debit, or the proposal of one that is too large for one person.

    Raises: ReasonUnknown, AdjustmentLimit, AccountFrozen, InsufficientPoints, SpendingLimit, BalanceLimitExceeded,
    LotsLimitExceeded.
    """
    member = active(work.book.resolve(command.member))
    currency = currency_of(work, command.points_currency)
    policy = work.policies.settings.policies.adjustments
    _refuse_unknown(work, command.reason)
    if policy.approval_above is not None and abs(command.points) > policy.approval_above:
        return _propose(
            work,
            "adjustment",
            member.id,
            currency,
            command.points,
            command.reason,
            command.reference,
        )
    _count_for_actor(work, currency, abs(command.points))
    gained, given = _post(work, member.id, currency, command.points, command.reason, limited=True)
    note: dict[str, object] = {
        "points_currency": currency.code,
        "points": command.points,
        "reason": command.reason,
    }
    return Outcome(
        kind="adjust",
        cell=work.book.home(member.id),
        member_id=member.id,
        activity_id=None,
        occurred_at=work.now,
        detail=Detail(
            lots=given,
            note=note if command.reference is None else {**note, "reference": command.reference},
        ),
        status=201,
        answer=AdjustmentAnswer(
            id=work.decision_id,
            member_id=member.id,
            points_currency=currency.code,
            points=command.points,
            reason=command.reason,
            reference=command.reference,
            earned=gained,
            balances=balances(work, member.id),
            recorded_at=work.now,
            decision_id=work.decision_id,
        ),
        event="loyalty.points.adjusted",
        event_data=note,
    )


def write_off(work: Work, command: WriteOff) -> Outcome:
    """The proposal to let go what a member owes: always another person's to decide. Raises: NothingOwed."""
    member = work.book.resolve(command.member)
    currency = currency_of(work, command.points_currency)
    account = work.account(member.id, currency.code)
    if account is None or not account.debt:
        raise NothingOwed(points_currency=currency.code)
    return _propose(work, "write_off", member.id, currency, account.debt, WAIVED, command.reference)


def reinstate(work: Work, command: Reinstate) -> Outcome:
    """Give expired points back on their own lots, or propose it where that is too much for one person.

    Raises: ReasonUnknown, ReinstatementsOff, TooFewExpired, AdjustmentLimit, BalanceLimitExceeded,
    LotsLimitExceeded.
    """
    member = active(work.book.resolve(command.member))
    currency = currency_of(work, command.points_currency)
    above = work.policies.settings.policies.adjustments.approval_above
    _refuse_unknown(work, command.reason)
    account, found, points = _reinstatable(work, member.id, currency, command.points, work.now)
    if above is not None and points > above:
        return _propose(work, "reinstatement", member.id, currency, points, command.reason, command.reference)
    _count_for_actor(work, currency, points)
    ends_at = _reinstate(work, account, found, currency, points, command.reason)
    note: dict[str, object] = {
        "points_currency": currency.code,
        "points": points,
        "reason": command.reason,
    }
    return Outcome(
        kind="reinstate",
        cell=work.book.home(member.id),
        member_id=member.id,
        activity_id=None,
        occurred_at=work.now,
        detail=Detail(note=note if command.reference is None else {**note, "reference": command.reference}),
        status=201,
        answer=ReinstatementAnswer(
            id=work.decision_id,
            member_id=member.id,
            points_currency=currency.code,
            points=points,
            reason=command.reason,
            reference=command.reference,
            expires_at=ends_at,
            last_day_on=last_day_on(ends_at, work.policies.zone),
            balances=balances(work, member.id),
            recorded_at=work.now,
            decision_id=work.decision_id,
        ),
        event="loyalty.points.reinstated",
        event_data=note,
    )


def approve(work: Work, command: Approve) -> Outcome:
    """Do what was proposed, on the points there are now; refused for want of points it stays open.

    Raises: what `_open` raises, MemberErased, MemberBlocked, NothingOwed, AccountFrozen, InsufficientPoints,
    ReinstatementsOff, TooFewExpired, BalanceLimitExceeded, LotsLimitExceeded.
    """
    proposal = _open(work, command.proposal_id)
    work.book.know_owner(proposal.member_id)
    member = work.book.resolve(MemberRef(id=proposal.member_id))
    currency = currency_of(work, proposal.points_currency)
    if proposal.kind == "write_off":
        gained, given = _waive(work, member.id, currency, proposal.points)
        return _decided(work, proposal, "approved", "loyalty.debt.written_off", gained, given)
    active(member)
    if proposal.kind == "reinstatement":
        # What might be given back on the day of the proposal may be so while it waits.
        account, found, points = _reinstatable(
            work, member.id, currency, proposal.points, proposal.proposed_at
        )
        _reinstate(work, account, found, currency, points, proposal.reason)
        return _decided(work, proposal, "approved", "loyalty.points.reinstated", (), ())
    gained, given = _post(work, member.id, currency, proposal.points, proposal.reason, limited=False)
    return _decided(work, proposal, "approved", "loyalty.points.adjusted", gained, given)


def reject(work: Work, command: Reject) -> Outcome:
    """End a proposal without doing it."""
    return _decided(work, _open(work, command.proposal_id), "rejected", "loyalty.adjustment.rejected", (), ())


def _open(work: Work, id: UUID) -> Proposal:
    """A proposal that the actor may decide now.

    Raises: ProposalNotFound, PeopleOnly, OwnProposal, ProposalDecided, ProposalLapsed.
    """
    proposal = work.book.proposal(id)
    actor = work.submission.actor
    if proposal is None:
        raise ProposalNotFound
    if actor.kind != "staff":
        raise PeopleOnly
    if actor.id == proposal.proposed_by:
        raise OwnProposal
    if proposal.state != "proposed":
        raise ProposalDecided(state=proposal.state, decided_at=proposal.decided_at)
    if work.now >= proposal.lapses_at:
        raise ProposalLapsed(lapsed_at=proposal.lapses_at)
    return proposal


def _refuse_unknown(work: Work, reason: str) -> None:
    """Raises: ReasonUnknown, also for what the books say themselves."""
    known = {one.code for one in work.policies.settings.policies.adjustments.reasons}
    if reason in OWN_CAUSES or (known and reason not in known):
        raise ReasonUnknown(reason=reason)


def _reinstatable(
    work: Work, member_id: UUID, currency: PointsCurrency, points: int | None, asked_at: datetime
) -> tuple[Account, dict[UUID, Lot], int]:
    """The lots of which points may be given back on the day of `asked_at`, and how many are wanted; None: all.

    Raises: ReinstatementsOff, TooFewExpired.
    """
    if not currency.reinstate_days:
        raise ReinstatementsOff(points_currency=currency.code)
    zone = work.policies.zone
    since = midnight(local_date(asked_at, zone) - timedelta(days=currency.reinstate_days), zone)
    account = work.account(member_id, currency.code)
    found = {} if account is None else work.expired_lots(account, since)
    there = sum(lot.expired for lot in found.values())
    if account is None or there < (points or 1):
        raise TooFewExpired(wanted=points, reinstatable=there)
    return account, found, points or there


def _reinstate(
    work: Work,
    account: Account,
    found: dict[UUID, Lot],
    currency: PointsCurrency,
    points: int,
    reason: str,
) -> datetime:
    """Give back, and repay what is owed; until when all of the points are good.

    Raises: LotsLimitExceeded, BalanceLimitExceeded.
    """
    zone = work.policies.zone
    ends_at = midnight(local_date(work.now, zone) + timedelta(days=currency.reinstated_days), zone)
    parts = undo.last_expired(found.values(), points)
    work.refuse_full(account.owner_id, len(parts))  # no new lots, but open again
    draft = undo.reinstate(account, found, parts, work.now, ends_at, reason)
    work.post(account, draft)
    work.settle(account)
    return min(redate.new_expires_at or ends_at for redate in draft.redates)


def _count_for_actor(work: Work, currency: PointsCurrency, points: int) -> None:
    """Count what the actor does alone on this program day, in the program's own lane. Raises: AdjustmentLimit."""
    maximum = work.policies.settings.policies.adjustments.daily_max
    if maximum is None:
        return
    on = local_date(work.now, work.policies.zone)
    key = CounterKey(f"actor:adjust:{currency.code}", on.isoformat())
    used = work.counter(work.submission.actor.id, key)
    if used + points > maximum:
        until = midnight(on + timedelta(days=1), work.policies.zone)
        raise AdjustmentLimit(wanted=points, maximum=maximum, used=used, until=until)
    work.use(work.submission.actor.id, key, points)


def _post(
    work: Work, member_id: UUID, currency: PointsCurrency, points: int, reason: str, *, limited: bool
) -> Given:
    """Credit or debit; what a second person approved is not held to the limits against theft."""
    if points > 0:
        account, entry = credit(
            work,
            member_id,
            currency,
            points,
            kind=EntryKind.ADJUST_CREDIT,
            occurred_at=work.now,
            dated_by=work.policies,
            cause=reason,
        )
        return (earned(work, account, entry, work.policies),), (awarded_lot(account, entry),)
    account = work.open_account(member_id, currency.code)
    spendable(work, account)
    taken = lots.spend(account, work.open_lots(account), -points)
    if limited:
        within_limits(work, member_id, currency.code, -points)
    work.post(account, EntryDraft(account.id, EntryKind.ADJUST_DEBIT, work.now, taken, cause=reason))
    return (), ()


def _waive(work: Work, member_id: UUID, currency: PointsCurrency, points: int) -> Given:
    """A credit that repays at once: what is owed now, and no more than was proposed. Raises: NothingOwed."""
    account = work.account(member_id, currency.code)
    if account is None or not account.debt:
        raise NothingOwed(points_currency=currency.code)
    account, entry = credit(
        work,
        member_id,
        currency,
        min(points, account.debt),
        kind=EntryKind.ADJUST_CREDIT,
        occurred_at=work.now,
        dated_by=work.policies,
        cause=WAIVED,
        dates=Dates(None, None),
    )
    return (earned(work, account, entry, work.policies),), (awarded_lot(account, entry),)


def _propose(
    work: Work,
    kind: ProposalKind,
    member_id: UUID,
    currency: PointsCurrency,
    points: int,
    reason: str,
    reference: str | None,
) -> Outcome:
    """Keep what is wanted until another person decides it; the points are not looked at yet."""
    days = work.policies.settings.policies.adjustments.proposal_days
    actor = work.submission.actor
    proposal = work.proposal = Proposal(
        id=work.book.new_id_at(work.book.home(member_id)),
        kind=kind,
        member_id=member_id,
        points_currency=currency.code,
        points=points,
        reason=reason,
        reference=reference,
        proposed_by_kind=actor.kind,
        proposed_by=actor.id,
        proposed_at=work.now,
        lapses_at=work.now + timedelta(days=days),
        proposed_in=work.decision_id,
    )
    return _outcome(work, proposal, "propose", 202, "loyalty.adjustment.proposed", (), ())


def _decided(
    work: Work,
    proposal: Proposal,
    state: str,
    event: str,
    gained: tuple[Earned, ...],
    given: tuple[AwardedLot, ...],
) -> Outcome:
    proposal = work.proposal = structs.replace(
        proposal,
        state=state,
        decided_by=work.submission.actor.id,
        decided_at=work.now,
        decided_in=work.decision_id,
    )
    kind = "approve" if state == "approved" else "reject"
    return _outcome(work, proposal, kind, 200, event, gained, given)


def _outcome(
    work: Work,
    proposal: Proposal,
    kind: str,
    status: int,
    event: str,
    gained: tuple[Earned, ...],
    given: tuple[AwardedLot, ...],
) -> Outcome:
    data: dict[str, object] = {
        "proposal_id": proposal.id,
        "kind": proposal.kind,
        "state": proposal.state,
        "points_currency": proposal.points_currency,
        "points": proposal.points,
        "reason": proposal.reason,
    }
    return Outcome(
        kind=kind,
        cell=work.book.home(proposal.member_id),
        member_id=proposal.member_id,
        activity_id=None,
        occurred_at=work.now,
        # All of the proposal as it is now: `verify` compares the row with it.
        detail=Detail(lots=given, note={"proposal": structs.asdict(proposal)}),
        status=status,
        answer=ProposalAnswer(
            id=proposal.id,
            kind=proposal.kind,
            state="proposed" if kind == "propose" else "approved" if kind == "approve" else "rejected",
            member_id=proposal.member_id,
            points_currency=proposal.points_currency,
            points=proposal.points,
            reason=proposal.reason,
            reference=proposal.reference,
            lapses_at=proposal.lapses_at,
            earned=gained,
            balances=balances(work, proposal.member_id) if kind == "approve" else (),
            recorded_at=work.now,
            decision_id=work.decision_id,
        ),
        event=event,
        event_data=data,
    )
