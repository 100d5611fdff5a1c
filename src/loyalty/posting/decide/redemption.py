"""Points become something: a reward is set aside or taken, a sale paid, handed over, or cancelled; stocks change.

Order of checks: member, hold, reward or points currency, amount, availability, points; docs/rewards.md lists the codes
in the same order. A cancel gives back what was taken: to the same lots, to the stock, to the member's limit.
"""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from loyalty.base.calendar import CapPeriod, local_date, midnight, period_of
from loyalty.base.money import amount
from loyalty.conditions.types import Facts, MemberFacts
from loyalty.ledger import lots
from loyalty.ledger.types import Account, EntryDraft, EntryKind, PlacedHold
from loyalty.members.types import Member, MemberStatus
from loyalty.posting.answers import (
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
    HoldReward,
    PayWithPoints,
    PinProof,
    Place,
    Redeem,
)
from loyalty.posting.configuration import Loaded
from loyalty.posting.decide import holds, pins
from loyalty.posting.decide.limits import within_limits
from loyalty.posting.decide.outcome import (
    Outcome,
    Replay,
    active,
    balances,
    currency_of,
    frozen,
    moved_receipt,
    reaches,
    spendable,
)
from loyalty.posting.decide.standing import held
from loyalty.posting.decide.undo import put_back
from loyalty.posting.detail import Detail, Redeemed
from loyalty.posting.types import HoldForReward
from loyalty.rewards.availability import Circumstances, Offer, reasons
from loyalty.rewards.price import Price, price, worth
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
from loyalty.rules.explain import balance_lines
from loyalty.rules.types import CounterKey

CANCELLED = "redemption_cancelled"

Source = tuple[Account, PlacedHold]  # the hold that the points come out of, and its account


def hold(work: Work, command: HoldReward) -> Outcome:
    """A reward and its points are set aside. Raises: HoldTooLong, and what `_available` and `set_aside` refuse."""
    member = active(work.book.resolve(command.member))
    offer = offered(work, command.reward)
    reward = offer.reward
    until = holds.first_deadline(work, reward.points_currency, command.minutes)
    cost = _available(work, member, offer, command.quantity, command.place)
    promised = (reward, command.quantity)
    return holds.set_aside(
        work, member, reward.points_currency, cost.points, until, command.place, command.pin, promised
    )


def redeem(work: Work, command: Redeem) -> Outcome:
    """A member takes a reward. Raises: what `_available` or `_taken` refuses.

    One that was set aside is a promise: it is had at the price of then, and nothing but its hold is asked.
    """
    member = active(work.book.resolve(command.member))
    source = None if command.hold_id is None else holds.of_member(work, member, command.hold_id)
    if source is not None and source[1].reward is not None:
        return _taken_as_promised(work, member, command, source)
    offer = offered(work, command.reward)
    quantity = command.quantity or 1
    cost = _available(work, member, offer, quantity, command.place)
    return _reward_taken(work, member, command, work.policies, offer.reward, quantity, cost, source)


def _available(work: Work, member: Member, offer: Offer, quantity: int, place: Place) -> Price:
    """What a member pays for a reward that can be had but for the points.

    Raises: QuantityTooLarge, RewardUnavailable with every reason.
    """
    cost = price(offer.reward, quantity)
    against = reasons(offer, circumstances(work, member, offer, place), quantity)
    if any(reason.reason not in ("account_frozen", "insufficient_points") for reason in against):
        raise RewardUnavailable(
            reward=offer.reward.id, reasons=[msgspec.structs.asdict(one) for one in against]
        )
    return cost


def _taken_as_promised(work: Work, member: Member, command: Redeem, source: Source) -> Outcome:
    hold = source[1]
    assert hold.reward is not None
    assert hold.quantity is not None
    assert hold.priced_by is not None
    if hold.reward != command.reward:
        raise HoldForReward(hold_id=hold.id, reward=hold.reward)
    priced_by = work.book.history.numbered(hold.priced_by)
    reward = priced_by.offers[hold.reward].reward
    quantity = command.quantity or hold.quantity
    cost = price(reward, quantity)
    return _reward_taken(work, member, command, priced_by, reward, quantity, cost, source)


def _reward_taken(
    work: Work,
    member: Member,
    command: Redeem,
    priced_by: Loaded,
    reward: Reward,
    quantity: int,
    cost: Price,
    source: Source | None,
) -> Outcome:
    if reward.stocked:
        work.restock(reward.id, -quantity)
    key = limit_key(priced_by, reward, work.now)
    if key is not None:
        work.use(member.id, key, quantity)
    return _taken(
        work,
        member,
        command.place,
        command.pin,
        reward=reward,
        quantity=quantity,
        points_currency=reward.points_currency,
        points=cost.points,
        money_minor=cost.money_minor,
        priced_by=priced_by,
        source=source,
    )


def pay(work: Work, command: PayWithPoints) -> Outcome:
    """A member pays with points. Raises: DayLimitReached and the refusals of `worth` and of `_taken`."""
    member = active(work.book.resolve(command.member))
    source = None if command.hold_id is None else holds.plain(holds.of_member(work, member, command.hold_id))
    currency = currency_of(work, command.points_currency)
    if currency.pay is None:
        raise PaymentNotOffered(points_currency=currency.code)
    money_minor = worth(currency.pay, command.points)
    if currency.pay.day_max is not None:
        on = local_date(work.now, work.policies.zone)
        key = payment_key(work.policies, currency.code, work.now)
        used, most = work.counter(member.id, key), currency.pay.day_max
        if used + command.points > most:
            until = midnight(on + timedelta(days=1), work.policies.zone)
            raise DayLimitReached(points=command.points, day_max=most, used=used, until=until)
        work.use(member.id, key, command.points)
    return _taken(
        work,
        member,
        command.place,
        command.pin,
        reward=None,
        quantity=1,
        points_currency=currency.code,
        points=command.points,
        money_minor=money_minor,
        priced_by=work.policies,
        source=source,
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
            member=MemberFacts(
                member.enrolled_at, kinds, held(work, member, work.now) if offer.asks_tiers else {}
            ),
        ),
        zone=policies.zone,
        points=0 if account is None else account.available,
        blocked=member.status is MemberStatus.BLOCKED,
        frozen=frozen(work, member.id, reward.points_currency) is not None,
        # What is set aside counts in the period that it is redeemed in: until then in every one that comes.
        used=0
        if key is None
        else work.counter(member.id, key) + holds.set_aside_of(work, member.id, reward.id),
        stock=work.stock(reward.id) if reward.stocked else 0,
        reserved=work.reserved(reward.id) if reward.stocked else 0,
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
    pin: PinProof | None,
    *,
    reward: Reward | None,
    quantity: int,
    points_currency: str,
    points: int,
    money_minor: int,
    priced_by: Loaded,
    source: Source | None,
) -> Outcome:
    """Take the points, in spending order or out of a hold, and write the redemption.

    Raises: AccountFrozen, InsufficientPoints, SpendingLimit, PinRequired, PinLocked, PinChanged, PinWrong.
    """
    cause = "payment" if reward is None else "reward"
    captured = None
    if source is not None:
        entry, captured = holds.spend(work, *source, points_currency, points, cause)
    else:
        account = work.open_account(member.id, points_currency)
        spendable(work, account)
        postings = lots.spend(account, work.open_lots(account), points)
        within_limits(work, member.id, points_currency, points, place.till)
        pins.proven(work, member.id, points, pin)
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
        priced_by=priced_by.number,
        parts=tuple((posting.lot_id, posting.points) for posting in entry.postings),
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
    of_hold = {} if captured is None else {"hold_id": captured.hold_id}
    return Outcome(
        kind="redeem",
        cell=cell,
        member_id=member.id,
        activity_id=redemption.id,
        occurred_at=work.now,
        detail=Detail(
            redemption=_noted(redemption),
            stocked=stocked,
            note=of_hold,
        ),
        status=201,
        answer=RedemptionAnswer(
            id=redemption.id,
            status="issued",
            member_id=member.id,
            **told,
            money=work.policies.settings.money,
            balances=after,
            receipt=Receipt(
                (_in_words(work, redemption, reward), *balance_lines(after, work.policies.currencies))
            ),
            configuration=redemption.priced_by,
            recorded_at=work.now,
            decision_id=work.decision_id,
            captured=captured,
        ),
        event="loyalty.redemption.issued",
        event_data={"redemption_id": redemption.id, **told, "location": place.location, **of_hold},
    )


def _noted(redemption: Redemption) -> Redeemed:
    """What the decision says of a redemption: all but its member and its state."""
    named = Redeemed.__struct_fields__
    return Redeemed(**{name: getattr(redemption, name) for name in named})


def _in_words(work: Work, redemption: Redemption, reward: Reward | None) -> str:
    money = work.policies.settings.money
    points = work.policies.currencies[redemption.points_currency].counted(redemption.points)
    if reward is None:
        return f"{amount(redemption.money_minor, money)} paid with {points}"
    what = reward.name if redemption.quantity == 1 else f"{redemption.quantity} x {reward.name}"
    besides = f" and {amount(redemption.money_minor, money)}" if redemption.money_minor else ""
    return f"{what}: {points}{besides}"


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
    back = put_back(
        work,
        redemption.member_id,
        redemption.points_currency,
        redemption.parts,
        CANCELLED,
        redemption.entry_id,
    )
    stocked = ()
    if reward is not None and reward.stocked:
        work.restock(reward.id, redemption.quantity)
        stocked = ((reward.id, redemption.quantity),)
    for key, used in _used(priced_by, redemption):
        work.use(redemption.member_id, key, -used)
    _change(work, cell, redemption, RedemptionState.CANCELLED)
    after = balances(work, redemption.member_id)
    moved = {"given back": redemption.points, "had expired": back.expired}
    return Outcome(
        kind="cancel_redemption",
        cell=cell,
        member_id=redemption.member_id,
        activity_id=redemption.id,
        occurred_at=work.now,
        detail=Detail(
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
            expired=back.expired,
            reinstated=back.reinstated,
            balances=after,
            receipt=moved_receipt(work, redemption.points_currency, moved, after),
            recorded_at=work.now,
            decision_id=work.decision_id,
        ),
        event="loyalty.redemption.cancelled",
        event_data={
            "redemption_id": redemption.id,
            "reward": redemption.reward,
            "reason": command.reason,
            "points": redemption.points,
            "expired": back.expired,
            "reinstated": back.reinstated,
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


def _used(priced_by: Loaded, redemption: Redemption) -> tuple[tuple[CounterKey, int], ...]:
    """What the redemption had used of a limit, by the configuration that priced it."""
    if redemption.reward is not None:
        key = limit_key(priced_by, priced_by.offers[redemption.reward].reward, redemption.redeemed_at)
        return () if key is None else ((key, redemption.quantity),)
    pay = priced_by.currencies[redemption.points_currency].pay
    if pay is None or pay.day_max is None:
        return ()
    return ((payment_key(priced_by, redemption.points_currency, redemption.redeemed_at), redemption.points),)


# --- stock ----------------------------------------------------------------------------------------------


def change_stock(work: Work, command: ChangeStock) -> Outcome:
    """Set or change how many of a reward there are, never below what is promised.

    Raises: RewardNotFound, StockNotKept, StockOutOfRange.
    """
    reward = offered(work, command.reward).reward
    if not reward.stocked:
        raise StockNotKept(reward=reward.id)
    before = work.stock(reward.id)
    after = before + command.by if command.to is None else command.to
    reserved = work.reserved(reward.id)
    # A cancelled redemption may have brought it above the maximum: from there it may come down.
    if not reserved <= after <= max(before, STOCK_MAX):
        raise StockOutOfRange(stock=before, reserved=reserved, stock_max=STOCK_MAX)
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
        answer=StockAnswer(**told, reserved=reserved, recorded_at=work.now, decision_id=work.decision_id),
        event="loyalty.stock.changed",
        event_data=told,
    )
