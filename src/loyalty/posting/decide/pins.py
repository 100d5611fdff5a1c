"""A member's PIN before points are spent, set aside or given away: asked for, proven, counted when wrong, locked.

The slow hash was compared before the command came down the road; here only what became of it counts, one command
after the other, so that attempts are exact whoever makes them where. Source: docs/pin.md.
"""

from datetime import timedelta
from uuid import UUID

import msgspec

from loyalty.posting.answers import WrongPinAnswer
from loyalty.posting.book import AuditLine, Work
from loyalty.posting.commands import PinProof
from loyalty.posting.decide.outcome import Outcome, encode
from loyalty.posting.detail import Detail
from loyalty.posting.types import PinChanged, PinLocked, PinRequired, PinWrong


def proven(work: Work, member_id: UUID, points: int, pin: PinProof | None) -> None:
    """Let `points` go where the program asks for no PIN, or the right one came; the very last check of a spender.

    A PIN that came unasked counts too: nobody finds out a PIN by small sums.
    Raises: PinLocked, PinRequired, PinChanged, PinWrong; what is wrong is counted though it is refused.
    """
    policy = work.policies.settings.policies.spending_pin
    asked = policy.above is not None and points > policy.above and work.submission.actor.role in policy.roles
    if pin is None and not asked:
        return
    known = work.pin(member_id)
    if known is None:
        if asked:
            raise PinRequired(points=points, above=policy.above, pin_set=False)
        return
    if known.locked_until is not None and work.now < known.locked_until:
        raise PinLocked(until=known.locked_until)
    if pin is None:
        raise PinRequired(points=points, above=policy.above, pin_set=True)
    if pin.version != known.version:
        raise PinChanged
    if not pin.right:
        left = max(0, policy.attempts - known.failed - 1)
        until = None if left else work.now + timedelta(minutes=policy.locked_minutes)
        raise PinWrong(member_id=member_id, attempts_left=left, until=until)
    if known.failed or known.locked_until is not None:
        work.pins[member_id] = msgspec.structs.replace(known, failed=0, locked_until=None)


def attempt(work: Work, refusal: PinWrong) -> Outcome:
    """The record of a wrong PIN: one attempt less; or the lock, which is told and stands in the audit log."""
    member_id: UUID = refusal.facts["member_id"]
    left, until = refusal.facts["attempts_left"], refusal.facts["until"]
    known = work.pin(member_id)
    assert known is not None, "a PIN that was wrong"
    failed = 0 if until is not None else known.failed + 1
    work.pins[member_id] = msgspec.structs.replace(known, failed=failed, locked_until=until)
    if until is not None:
        detail = encode({"until": until, "decision_id": work.decision_id})
        work.audit.append(AuditLine(work.book.ids(), "pin.lock", str(member_id), "done", detail))
    return Outcome(
        kind="wrong_pin",
        cell=work.book.home(member_id),
        member_id=member_id,
        activity_id=None,
        occurred_at=work.now,
        detail=Detail(note={"attempts_left": left, "until": until}),
        status=403,
        answer=WrongPinAnswer(left, until),
        event=None if until is None else "loyalty.pin.locked",
        event_data={"until": until},
    )
