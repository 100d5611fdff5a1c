"""Freezing an account: earning, expiring and undoing go on, but nothing is taken, given away or set aside."""

from loyalty.posting.answers import FreezeAnswer
from loyalty.posting.book import Freeze, Work
from loyalty.posting.commands import Freeze as FreezeAccount
from loyalty.posting.commands import Unfreeze as UnfreezeAccount
from loyalty.posting.decide.outcome import Outcome, currency_of
from loyalty.posting.detail import Detail


def freeze(work: Work, command: FreezeAccount) -> Outcome:
    """Freeze an account, which need not have had points yet; fine when it is frozen already."""
    return _set(work, command, frozen=True)


def unfreeze(work: Work, command: UnfreezeAccount) -> Outcome:
    """Let points be taken again; fine when they may be."""
    return _set(work, command, frozen=False)


def _set(work: Work, command: FreezeAccount | UnfreezeAccount, *, frozen: bool) -> Outcome:
    member = work.book.resolve(command.member)
    currency = currency_of(work, command.points_currency)
    before = work.freeze(member.id, currency.code)
    changes = frozen != (before is not None and before.frozen)
    since = work.now if changes or before is None else before.since
    now = Freeze(frozen, command.reason, since, work.decision_id)
    work.freezes[member.id, currency.code] = now
    data: dict[str, object] = {
        "points_currency": currency.code,
        "frozen": frozen,
        "reason": command.reason,
        "since": since,
    }
    return Outcome(
        kind="freeze" if frozen else "unfreeze",
        cell=work.book.home(member.id),
        member_id=member.id,
        activity_id=None,
        occurred_at=work.now,
        detail=Detail(note=data),
        status=200,
        answer=FreezeAnswer(member.id, currency.code, frozen, command.reason, since, work.decision_id),
        event=f"loyalty.account.{'frozen' if frozen else 'unfrozen'}" if changes else None,
        event_data=data,
    )
