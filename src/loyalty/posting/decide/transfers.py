"""Points of one member become another's: a pair of entries of one command, each on its own account.

Points keep their dates and their age. Order of checks: docs/adjustments.md, "Transfers".
"""

from loyalty.base.calendar import CapPeriod, day_after, local_date, midnight, period_of
from loyalty.ledger import lots
from loyalty.ledger.transfers import transfer
from loyalty.ledger.types import EntryDraft, EntryKind, InsufficientPoints
from loyalty.members.types import Member
from loyalty.posting.answers import TransferAnswer
from loyalty.posting.book import Work
from loyalty.posting.commands import TransferPoints
from loyalty.posting.decide import pins
from loyalty.posting.decide.limits import within_limits
from loyalty.posting.decide.outcome import Outcome, Told, active, balances, currency_of, spendable
from loyalty.posting.detail import Detail, Received
from loyalty.posting.types import (
    PointsNotSpendable,
    TransferLimit,
    TransferOutOfRange,
    TransfersOff,
    TransferToSelf,
)
from loyalty.programs.types import PointsCurrency, Transfers
from loyalty.rules.types import CounterKey

FEE = "transfer_fee"


def transfer_points(work: Work, command: TransferPoints) -> Outcome:
    """The giver's points leave in spending order, then the fee; the taker's debt is repaid first.

    Raises: TransferToSelf, TransfersOff, PointsNotSpendable, TransferOutOfRange, AccountFrozen,
    InsufficientPoints, TransferLimit, SpendingLimit, PinRequired, PinLocked, PinChanged, PinWrong,
    BalanceLimitExceeded, LotsLimitExceeded.
    """
    giver = active(work.book.resolve(command.giver))
    taker = active(work.book.resolve(command.taker))
    currency = currency_of(work, command.points_currency)
    policy = work.policies.settings.policies.transfers
    points = command.points
    _refuse_by_policy(policy, giver, taker, currency, points)
    fee = policy.fee(points)
    account = work.open_account(giver.id, currency.code)
    if spendable(work, account) < points + fee:
        raise InsufficientPoints(wanted=points + fee, available=account.available)
    _count_for_giver(work, policy, giver, currency, points)
    within_limits(work, giver.id, currency.code, points + fee)
    pins.proven(work, giver.id, points + fee, command.pin)
    taken = work.open_account(taker.id, currency.code)
    given, received = transfer(
        account,
        work.open_lots(account),
        taken,
        lots.choose(account, work.open_lots(account), points),
        work.now,
        new_id=work.book.ids,
        decision_id=work.decision_id,
    )
    work.post(account, given)
    if fee:
        paid = lots.spend(account, work.open_lots(account), fee)
        work.post(account, EntryDraft(account.id, EntryKind.REDEEM, work.now, paid, cause=FEE))
    work.post(taken, received)
    work.settle(taken)
    data: dict[str, object] = {"points_currency": currency.code, "points": points}
    return Outcome(
        kind="transfer",
        cell=work.book.home(giver.id),
        member_id=giver.id,
        activity_id=None,
        occurred_at=work.now,
        detail=Detail(note={**data, "fee": fee, "taker_id": taker.id}),
        status=201,
        answer=TransferAnswer(
            id=work.decision_id,
            giver_id=giver.id,
            taker_id=taker.id,
            points_currency=currency.code,
            points=points,
            fee=fee,
            balances=balances(work, giver.id),
            recorded_at=work.now,
            decision_id=work.decision_id,
        ),
        event="loyalty.points.given",
        event_data={**data, "fee": fee, "taker_id": taker.id},
        others=(
            Told(
                taker.id,
                "loyalty.points.received",
                {**data, "giver_id": giver.id},
                (Received(taker.id, currency.code, taken.id, points),),
            ),
        ),
    )


def _refuse_by_policy(
    policy: Transfers, giver: Member, taker: Member, currency: PointsCurrency, points: int
) -> None:
    if giver.id == taker.id:
        raise TransferToSelf
    if not policy.enabled:
        raise TransfersOff
    if not currency.spendable:
        raise PointsNotSpendable(points_currency=currency.code)
    if points < policy.minimum or (policy.maximum is not None and points > policy.maximum):
        raise TransferOutOfRange(wanted=points, minimum=policy.minimum, maximum=policy.maximum)


def _count_for_giver(
    work: Work, policy: Transfers, giver: Member, currency: PointsCurrency, points: int
) -> None:
    """Count what a member gives within the policy's period. Raises: TransferLimit."""
    if policy.giver_max is None:
        return
    on = local_date(work.now, work.policies.zone)
    period = CapPeriod(policy.period)
    key = CounterKey(f"member:give:{currency.code}", period_of(on, period))
    used = work.counter(giver.id, key)
    if used + points > policy.giver_max:
        after = day_after(on, period)
        assert after is not None, "a day, a week and a month end"
        until = midnight(after, work.policies.zone)
        raise TransferLimit(wanted=points, maximum=policy.giver_max, used=used, until=until)
    work.use(giver.id, key, points)
