"""Points become something: a reward is taken or a sale paid, handed over, or cancelled; and a stock is changed.

Order of checks: member, reward or points currency, amount, availability, points; docs/rewards.md lists the codes in
the same order. A cancel gives back what was taken: to the same lots, to the stock, to the member's limit.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from loyalty.base.calendar import CapPeriod, local_date, midnight, period_of
from loyalty.base.money import amount
from loyalty.conditions.types import Facts, MemberFacts
from loyalty.ledger import lots
from loyalty.ledger.types import Account, EntryDraft, EntryKind, InsufficientPoints, Lot
from loyalty.ledger.undo import forfeit, reinstate, restore
from loyalty.members.types import Member, MemberStatus
from loyalty.posting.answers import (
    Balance,
    FulfilledAnswer,
    Receipt,
    RedemptionAnswer,
    ReturnedAnswer,
    StockAnswer,
)
from loyalty.posting.book import Work
from loyalty.posting.commands import (
    CancelRedemption,
    ChangeStock,
    FulfilRedemption,
    PayWithPoints,
    Place,
    Redeem,
)
from loyalty.posting.configuration import Loaded
from loyalty.posting.decide.outcome import Outcome, Replay, active, balances, reaches
from loyalty.posting.decide.people import ERASED
from loyalty.posting.decide.points import currency_of
from loyalty.posting.detail import Detail, Redeemed
from loyalty.rewards.availability import Circumstances, Offer, reasons
from loyalty.rewards.price import price, worth
from loyalty.rewards.types import (
    STOCK_MAX,
    DayLimitReached,
    NotReturnable,
    PaymentNotOffered,
    Redemption,
    RedemptionCancelled,
    RedemptionNotFound,
    RedemptionState,
    Reward,
    RewardNotFound,
    RewardUnavailable,
    StockNotKept,
    StockOutOfRange,
)
from loyalty.rules.types import CounterKey

CANCELLED = "redemption_cancelled"


def redeem(work: Work, command: Redeem) -> Outcome:
    """A member takes a reward.

    Raises: RewardUnavailable with every reason, InsufficientPoints when that is the only one.
    """
    member = active(work.book.resolve(command.member))
    offer = offered(work, command.reward)
    reward, quantity = offer.reward, command.quantity
    cost = price(reward, quantity)
    here = circumstances(work, member, offer, command.place)
    against = reasons(offer, here, quantity)
    if any(reason.reason != "insufficient_points" for reason in against):
        raise RewardUnavailable(reward=reward.id, reasons=[msgspec.structs.asdict(one) for one in against])
    if against:
        raise InsufficientPoints(wanted=cost.points, available=here.points)
    if reward.stocked:
        work.restock(reward.id, -quantity)
    key = limit_key(work.policies, reward, work.now)
    return _taken(
        work,
        member,
        command.place,
        reward=reward,
        quantity=quantity,
        points_currency=reward.points_currency,
        points=cost.points,
        money_minor=cost.money_minor,
        counted=None if key is None else (key, quantity),
    )


def pay(work: Work, command: PayWithPoints) -> Outcome:
    """A member pays with points. Raises: DayLimitReached, InsufficientPoints and the refusals of `worth`."""
    member = active(work.book.resolve(command.member))
    currency = currency_of(work, command.points_currency)
    if currency.pay is None:
        raise PaymentNotOffered(points_currency=currency.code)
    money_minor = worth(currency.pay, command.points)
    counted = None
    if currency.pay.day_max is not None:
        on = local_date(work.now, work.policies.zone)
        key = payment_key(work.policies, currency.code, work.now)
        used, most = work.counter(member.id, key), currency.pay.day_max
        if used + command.points > most:
            until = midnight(on + timedelta(days=1), work.policies.zone)
            raise DayLimitReached(points=command.points, day_max=most, used=used, until=until)
        counted = (key, command.points)
    return _taken(
        work,
        member,
        command.place,
        reward=None,
        quantity=1,
        points_currency=currency.code,
        points=command.points,
        money_minor=money_minor,
        counted=counted,
    )


def offered(work: Work, reward: str) -> Offer:
    """A reward of the catalogue in force. Raises: RewardNotFound."""
    found = work.policies.offers.get(reward)
    if found is None:
        raise RewardNotFound
    return found


def circumstances(work: Work, member: Member, offer: Offer, place: Place) -> Circumstances:
    """What a reward is judged on for a member at the batch's instant."""
    reward, policies = offer.reward, work.policies
    key = limit_key(policies, reward, work.now)
    account = work.account(member.id, reward.points_currency)
    kinds = work.book.identifier_kinds(member.id) if offer.asks_identifiers else frozenset[str]()
    return Circumstances(
        facts=Facts(
            occurred_at=work.now,
            lines=(),
            basis={},
            channel=place.channel,
            location=place.location,
            member=MemberFacts(member.enrolled_at, kinds),
        ),
        zone=policies.zone,
        points=0 if account is None else account.available,
        blocked=member.status is MemberStatus.BLOCKED,
        used=0 if key is None else work.counter(member.id, key),
        stock=work.stock(reward.id) if reward.stocked else 0,
    )


def limit_key(priced_by: Loaded, reward: Reward, at: datetime) -> CounterKey | None:
    """The counter of a reward's limit for one member; no rule has such an id."""
    if reward.member_limit is None:
        return None
    on = local_date(at, priced_by.zone)
    return CounterKey(f"reward:{reward.id}", period_of(on, reward.member_limit.period))


def payment_key(priced_by: Loaded, points_currency: str, at: datetime) -> CounterKey:
    """The counter of what a member pays with on one day."""
    on = local_date(at, priced_by.zone)
    return CounterKey(f"payment:{points_currency}", period_of(on, CapPeriod.DAY))


def _taken(
    work: Work,
    member: Member,
    place: Place,
    *,
    reward: Reward | None,
    quantity: int,
    points_currency: str,
    points: int,
    money_minor: int,
    counted: tuple[CounterKey, int] | None,
) -> Outcome:
    """Take the points in spending order and write the redemption. Raises: InsufficientPoints."""
    if counted is not None:
        work.count(member.id, *counted)
    account = work.open_account(member.id, points_currency)
    postings = lots.spend(account, work.open_lots(account), points)
    cause = "payment" if reward is None else "reward"
    entry = work.post(account, EntryDraft(account.id, EntryKind.REDEEM, work.now, postings, cause=cause))
    cell = work.book.home(member.id)
    redemption = Redemption(
        id=work.book.new_id_at(cell),
        member_id=member.id,
        reward=None if reward is None else reward.id,
        quantity=quantity,
        points_currency=points_currency,
        points=points,
        money_minor=money_minor,
        priced_by=work.policies.number,
        parts=tuple((posting.lot_id, posting.points) for posting in postings),
        location=place.location,
        channel=place.channel,
        till=place.till,
        reference=place.reference,
        state=RedemptionState.ISSUED,
        redeemed_at=work.now,
        changed_at=work.now,
        decision_id=work.decision_id,
        entry_id=entry.id,
        changed_by=work.decision_id,
    )
    work.redemptions[redemption.id] = (cell, redemption)
    after = balances(work, member.id)
    told: dict[str, Any] = {
        "reward": redemption.reward,
        "quantity": quantity,
        "points_currency": points_currency,
        "points": points,
        "money_minor": money_minor,
    }
    stocked = ((reward.id, -quantity),) if reward is not None and reward.stocked else ()
    return Outcome(
        kind="redeem",
        cell=cell,
        member_id=member.id,
        activity_id=redemption.id,
        occurred_at=work.now,
        detail=Detail(
            counted=() if counted is None else ((counted[0].rule_id, counted[0].period, counted[1]),),
            redemption=_noted(redemption),
            stocked=stocked,
        ),
        status=201,
        answer=RedemptionAnswer(
            id=redemption.id,
            status="issued",
            member_id=member.id,
            **told,
            money=work.policies.settings.money,
            balances=after,
            receipt=Receipt((_in_words(work, redemption, reward), *_balance_of(points_currency, after))),
            configuration=redemption.priced_by,
            recorded_at=work.now,
            decision_id=work.decision_id,
        ),
        event="loyalty.redemption.issued",
        event_data={"redemption_id": redemption.id, **told, "location": place.location},
    )


def _noted(redemption: Redemption) -> Redeemed:
    """What the decision says of a redemption: all but its member and its state."""
    named = Redeemed.__struct_fields__
    return Redeemed(**{name: getattr(redemption, name) for name in named})


def _in_words(work: Work, redemption: Redemption, reward: Reward | None) -> str:
    money = work.policies.settings.money
    points = f"{redemption.points:,} {work.policies.currencies[redemption.points_currency].name}"
    if reward is None:
        return f"{points} pay {amount(redemption.money_minor, money)}"
    what = reward.name if redemption.quantity == 1 else f"{redemption.quantity} x {reward.name}"
    besides = f" and {amount(redemption.money_minor, money)}" if redemption.money_minor else ""
    return f"{what}: {points}{besides}"


def _balance_of(points_currency: str, after: tuple[Balance, ...]) -> tuple[str, ...]:
    return tuple(f"Balance {one.available:,}" for one in after if one.points_currency == points_currency)


# --- what becomes of it ---------------------------------------------------------------------------------


def fulfil(work: Work, command: FulfilRedemption) -> Outcome:
    """The thing was handed over. Once is enough: again gives the first answer. Raises: RedemptionCancelled."""
    redemption, cell = _found(work, command.redemption_id)
    if redemption.state is RedemptionState.FULFILLED:
        raise Replay(cell, redemption.changed_by)
    if redemption.state is RedemptionState.CANCELLED:
        raise RedemptionCancelled(redemption_id=redemption.id)
    _change(work, cell, redemption, RedemptionState.FULFILLED)
    return Outcome(
        kind="fulfil",
        cell=cell,
        member_id=redemption.member_id,
        activity_id=redemption.id,
        occurred_at=work.now,
        detail=Detail(),
        status=200,
        answer=FulfilledAnswer(redemption.id, "fulfilled", redemption.member_id, work.now, work.decision_id),
        event="loyalty.redemption.fulfilled",
        event_data={"redemption_id": redemption.id, "reward": redemption.reward},
    )


def cancel(work: Work, command: CancelRedemption) -> Outcome:
    """Undo a redemption; again gives the first answer.

    Raises: NotReturnable when it was handed over and does not come back, BalanceLimitExceeded.
    """
    redemption, cell = _found(work, command.redemption_id)
    if redemption.state is RedemptionState.CANCELLED:
        raise Replay(cell, redemption.changed_by)
    priced_by = work.book.history.numbered(redemption.priced_by)
    reward = None if redemption.reward is None else priced_by.offers[redemption.reward].reward
    if redemption.state is RedemptionState.FULFILLED and not _returnable(priced_by, redemption):
        raise NotReturnable(redemption_id=redemption.id)
    expired, reinstated = _give_back(work, redemption)
    stocked = ()
    if reward is not None and reward.stocked:
        work.restock(reward.id, redemption.quantity)
        stocked = ((reward.id, redemption.quantity),)
    counted = _counted(priced_by, redemption)
    for key, used in counted:
        work.count(redemption.member_id, key, -used)
    _change(work, cell, redemption, RedemptionState.CANCELLED)
    after = balances(work, redemption.member_id)
    points = f"{redemption.points:,} {work.policies.currencies[redemption.points_currency].name} given back"
    lost = (f"{expired:,} of them had expired",) if expired else ()
    return Outcome(
        kind="cancel_redemption",
        cell=cell,
        member_id=redemption.member_id,
        activity_id=redemption.id,
        occurred_at=work.now,
        detail=Detail(
            counted=tuple((key.rule_id, key.period, -used) for key, used in counted),
            undoes=redemption.decision_id,
            stocked=stocked,
            note={"reason": command.reason},
        ),
        status=200,
        answer=ReturnedAnswer(
            id=redemption.id,
            status="cancelled",
            member_id=redemption.member_id,
            points_currency=redemption.points_currency,
            points=redemption.points,
            expired=expired,
            reinstated=reinstated,
            balances=after,
            receipt=Receipt((points, *lost, *_balance_of(redemption.points_currency, after))),
            recorded_at=work.now,
            decision_id=work.decision_id,
        ),
        event="loyalty.redemption.cancelled",
        event_data={
            "redemption_id": redemption.id,
            "reward": redemption.reward,
            "reason": command.reason,
            "points": redemption.points,
            "expired": expired,
            "reinstated": reinstated,
        },
    )


def _found(work: Work, redemption_id: UUID) -> tuple[Redemption, int]:
    """A redemption that the actor may touch, and its cell. Raises: RedemptionNotFound."""
    redemption = work.book.redemption(redemption_id)
    if not reaches(work, redemption.location):
        raise RedemptionNotFound
    return redemption, work.book.home(redemption_id)


def _change(work: Work, cell: int, redemption: Redemption, state: RedemptionState) -> None:
    work.redemptions[redemption.id] = (
        cell,
        msgspec.structs.replace(redemption, state=state, changed_at=work.now, changed_by=work.decision_id),
    )


def _returnable(priced_by: Loaded, redemption: Redemption) -> bool:
    if redemption.reward is not None:
        return priced_by.offers[redemption.reward].reward.returnable
    pay = priced_by.currencies[redemption.points_currency].pay
    return pay is not None and pay.returnable


def _counted(priced_by: Loaded, redemption: Redemption) -> tuple[tuple[CounterKey, int], ...]:
    """What the redemption had counted against a limit, by the configuration that priced it."""
    if redemption.reward is not None:
        key = limit_key(priced_by, priced_by.offers[redemption.reward].reward, redemption.redeemed_at)
        return () if key is None else ((key, redemption.quantity),)
    pay = priced_by.currencies[redemption.points_currency].pay
    if pay is None or pay.day_max is None:
        return ()
    return ((payment_key(priced_by, redemption.points_currency, redemption.redeemed_at), redemption.points),)


def _give_back(work: Work, redemption: Redemption) -> tuple[int, int]:
    """Put the points back into their lots: how many of them are lost again at once, how many got a new end."""
    member = work.book.member(redemption.member_id)
    account = work.account(member.id, redemption.points_currency)
    assert account is not None, "a redemption without its account"
    owned = work.lots_of(account, (lot_id for lot_id, _ in redemption.parts))
    before = {lot_id: owned[lot_id].expired for lot_id, _ in redemption.parts}
    work.post(account, restore(account, redemption.parts, work.now, CANCELLED, redemption.entry_id))
    work.settle(account)
    if member.status is MemberStatus.ERASED:
        for draft in forfeit(account, owned, work.now, ERASED):
            work.post(account, draft)
        return redemption.points, 0
    gone = _gone(owned, before)
    lost = sum(points for _, points in gone)
    days = work.policies.settings.policies.returned_days
    if not lost or not days:
        return lost, 0
    _reinstate(work, account, owned, gone, days)
    return 0, lost


def _gone(owned: Mapping[UUID, Lot], before: Mapping[UUID, int]) -> tuple[tuple[UUID, int], ...]:
    """What expired of the lots since `before`."""
    return tuple(
        (lot_id, owned[lot_id].expired - expired)
        for lot_id, expired in before.items()
        if owned[lot_id].expired > expired
    )


def _reinstate(
    work: Work, account: Account, owned: Mapping[UUID, Lot], gone: tuple[tuple[UUID, int], ...], days: int
) -> None:
    """Give points whose lots have ended a new end, today the first of `days` local days."""
    zone = work.policies.zone
    ends_at = midnight(local_date(work.now, zone) + timedelta(days=days), zone)
    work.post(account, reinstate(account, owned, gone, work.now, ends_at, CANCELLED))
    work.settle(account)


# --- stock ----------------------------------------------------------------------------------------------


def change_stock(work: Work, command: ChangeStock) -> Outcome:
    """Set or change how many of a reward there are. Raises: RewardNotFound, StockNotKept, StockOutOfRange."""
    reward = offered(work, command.reward).reward
    if not reward.stocked:
        raise StockNotKept(reward=reward.id)
    before = work.stock(reward.id)
    after = before + command.by if command.to is None else command.to
    if not 0 <= after <= STOCK_MAX:
        raise StockOutOfRange(stock=before, stock_max=STOCK_MAX)
    work.restock(reward.id, after - before)
    told: dict[str, Any] = {
        "reward": reward.id,
        "stock": after,
        "change": after - before,
        "reason": command.reason,
    }
    return Outcome(
        kind="stock",
        cell=0,
        member_id=None,
        activity_id=None,
        occurred_at=work.now,
        detail=Detail(stocked=((reward.id, after - before),), note={"reason": command.reason}),
        status=200,
        answer=StockAnswer(**told, recorded_at=work.now, decision_id=work.decision_id),
        event="loyalty.stock.changed",
        event_data=told,
    )
