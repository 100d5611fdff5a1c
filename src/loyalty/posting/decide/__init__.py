"""One pure decision per command: `decide(book, submission)` answers and lays accepted changes over the book.

A refusal is an answer too and leaves the book as it was but for its idempotency record. The same functions
serve the quote, the jobs and every simulation: there is no second implementation of any rule of the business.
"""

from collections.abc import Callable
from typing import Any

from loyalty.base.aside import JUDGED, LONG
from loyalty.base.errors import LoyaltyError
from loyalty.base.problems import render, retry_headers
from loyalty.posting.book import Book, Considered, Needs, StoredRecord, Work
from loyalty.posting.commands import (
    AddIdentifier,
    Adjust,
    AdvanceClock,
    Answer,
    Approve,
    CancelPurchase,
    CancelRedemption,
    CaptureHold,
    ChangeMember,
    ChangeStock,
    ClaimPurchase,
    CloseDay,
    Enrol,
    EraseMember,
    ExchangePurchase,
    ExtendHold,
    Freeze,
    FulfilRedemption,
    GiveTier,
    HoldReward,
    ImportLot,
    ImportMember,
    ImportStanding,
    MoveClock,
    Notify,
    PayWithPoints,
    PlaceHold,
    Publish,
    RecordPurchase,
    RedateLots,
    Redeem,
    Reinstate,
    Reject,
    ReleaseHold,
    ReturnPurchase,
    SetPin,
    Settle,
    Submission,
    TransferPoints,
    Unfreeze,
    WriteOff,
)
from loyalty.posting.configuration import History
from loyalty.posting.decide import (
    adjustments,
    freezes,
    holds,
    limits,
    notices,
    people,
    pins,
    points,
    program,
    purchase,
    redates,
    redemption,
    returns,
    standing,
    transfers,
    undo,
)
from loyalty.posting.decide.outcome import Outcome, Replay, decided
from loyalty.posting.types import IdempotencyKeyReused, PinWrong, SpendingLimit
from loyalty.programs.types import ClockMoving

_DECIDERS: dict[type, Callable[[Work, Any], Outcome]] = {
    Enrol: people.enrol,
    ImportMember: people.import_member,
    AddIdentifier: people.add_identifier,
    ChangeMember: people.change,
    EraseMember: people.erase,
    SetPin: people.set_pin,
    RecordPurchase: purchase.purchase,
    CancelPurchase: undo.cancel,
    ReturnPurchase: returns.give_back,
    ExchangePurchase: returns.exchange,
    ClaimPurchase: points.claim,
    Adjust: adjustments.adjust,
    WriteOff: adjustments.write_off,
    Reinstate: adjustments.reinstate,
    Approve: adjustments.approve,
    Reject: adjustments.reject,
    TransferPoints: transfers.transfer_points,
    Freeze: freezes.freeze,
    Unfreeze: freezes.unfreeze,
    GiveTier: standing.give,
    ImportStanding: standing.import_standing,
    ImportLot: points.import_lot,
    Settle: points.settle_due,
    RedateLots: redates.redate_lots,
    Notify: notices.notify,
    PlaceHold: holds.place,
    HoldReward: redemption.hold,
    ExtendHold: holds.extend,
    CaptureHold: holds.capture,
    ReleaseHold: holds.release,
    Redeem: redemption.redeem,
    PayWithPoints: redemption.pay,
    FulfilRedemption: redemption.fulfil,
    CancelRedemption: redemption.cancel,
    ChangeStock: redemption.change_stock,
    Publish: program.publish,
    MoveClock: program.move_clock,
    AdvanceClock: program.advance_clock,
    CloseDay: program.close_day,
}

# What is refused and recorded all the same: the decision of such an attempt.
_RECORDED: dict[type[LoyaltyError], Callable[[Work, Any], Outcome]] = {
    SpendingLimit: limits.attempt,
    PinWrong: pins.attempt,
}


# What a moving clock brings along; whatever else writes waits for its end.
_MOVING = (AdvanceClock, Settle, Notify, CloseDay)


def consider(history: History, submission: Submission) -> Considered | None:
    """What can be said of a command before anything is read; None where that is nothing."""
    command = submission.command
    if not isinstance(command, RecordPurchase) or history.empty:
        return None
    return purchase.consider(command, command.occurred_at, history.at(command.occurred_at))


def effort(history: History | None, submission: Submission) -> int:
    """What the rules have to judge of a command, in the pieces of base/aside.py."""
    command = submission.command
    bought = command.purchase if isinstance(command, ExchangePurchase) else command
    if not isinstance(bought, RecordPurchase) or history is None or history.empty:
        return 0
    judged_by, lines = history.at(bought.occurred_at), bought.lines
    judged = len(lines) * len(judged_by.ruleset.rules) // JUDGED
    if judged <= LONG:
        return judged
    names = sum([1 + len(line.categories) + len(line.tags) for line in lines])
    return len(lines) * judged_by.compiled.reach(names) // JUDGED


def decide(book: Book, submission: Submission, considered: Considered | None = None) -> Answer:
    """The answer of one command; accepted changes are laid over `book`, a refusal leaves it as it was.

    `considered`, when there is one, saves work and changes nothing.
    Raises: Needs when something must be read, or a lane held, first.
    """
    idempotency = submission.idempotency
    if idempotency is not None:
        record = book.records.get((idempotency.scope, idempotency.key))
        if record is not None:
            return _again(book, submission, record)
    if book.clock is not None and book.clock.moving_to and not isinstance(submission.command, _MOVING):
        refusal = ClockMoving(now=book.now, to=book.clock.moving_to)  # not kept: a retry is a new try
        return Answer(*render(refusal, submission.request_id), headers=retry_headers(refusal))
    try:
        work = Work(book, submission, considered)
        outcome = _DECIDERS[type(submission.command)](work, submission.command)
    except Replay as replay:
        stored = book.decision(replay.cell, replay.decision_id)
        _remember(book, submission, 200, (replay.cell, replay.decision_id), None)
        return Answer(200, stored.answer.encode(), replayed=True)
    except LoyaltyError as refusal:
        status, body = render(refusal, submission.request_id)
        if attempt := _RECORDED.get(type(refusal)):
            work = Work(book, submission)
            work.accept(decided(work, attempt(work, refusal)))
        _remember(book, submission, status, None, body.decode())
        return Answer(status, body)
    return _accept(book, submission, work, outcome)


def _again(book: Book, submission: Submission, record: StoredRecord) -> Answer:
    """The same key once more: the first answer byte for byte, or a refusal when it asks for something else."""
    assert submission.idempotency is not None
    if record.fingerprint not in submission.idempotency.fingerprints:
        return Answer(*render(IdempotencyKeyReused(), submission.request_id))
    if record.decision is None:
        assert record.refusal is not None
        return Answer(record.status, record.refusal.encode(), replayed=True)
    return Answer(record.status, book.decision(*record.decision).answer.encode(), replayed=True)


def _accept(book: Book, submission: Submission, work: Work, outcome: Outcome) -> Answer:
    made = decided(work, outcome)
    work.accept(made)
    _remember(book, submission, outcome.status, (made.cell, made.decision.id), None)
    return Answer(outcome.status, made.decision.answer.encode())


def _remember(
    book: Book, submission: Submission, status: int, decision: tuple[int, Any] | None, refusal: str | None
) -> None:
    """Keep the answer for a retry under the same key, in the commit of the effect."""
    if submission.idempotency is None:
        return
    key = (submission.idempotency.scope, submission.idempotency.key)
    record = StoredRecord(submission.idempotency.fingerprints[0], status, decision, refusal)
    book.records[key] = record
    book.new_records[key] = record


__all__ = ["Needs", "consider", "decide", "effort"]
