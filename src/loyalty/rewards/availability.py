"""Whether a member can have a reward, and every reason why not, each with what is missing. Pure.

The catalogue that a till shows and the redemption itself ask here, so that both give the same reasons.
"""

from collections.abc import Iterator
from datetime import timedelta
from zoneinfo import ZoneInfo

from msgspec import Struct

from loyalty.base.calendar import day_after, local_date, midnight
from loyalty.conditions.basket import Basket, LineIndex
from loyalty.conditions.compile import asks, compile_condition, demanded
from loyalty.conditions.types import Facts, HasIdentifier, HasTier
from loyalty.rewards.price import price
from loyalty.rewards.types import Reason, Reward


class Offer:
    """A reward of a published catalogue with its conditions compiled."""

    __slots__ = ("asks_identifiers", "asks_tiers", "checks", "reward")

    def __init__(self, reward: Reward) -> None:
        self.reward = reward
        index = LineIndex()
        self.checks = [compile_condition(one, index, reward.points_currency) for one in demanded(reward.when)]
        self.asks_identifiers = asks(reward.when, HasIdentifier)
        self.asks_tiers = asks(reward.when, HasTier)


class Circumstances(Struct, frozen=True):
    """What a reward is judged on: the member, the moment and the place, the figures as they are now."""

    facts: Facts  # without lines; `occurred_at` is the moment
    zone: ZoneInfo
    points: int  # available in the reward's points currency
    blocked: bool
    frozen: bool  # the account in the reward's points currency
    used: int  # of the member's limit, in the period of the moment; what the member has set aside counts too
    stock: int  # of a stocked reward
    reserved: int  # of these, how many are set aside


def reasons(offer: Offer, here: Circumstances, quantity: int = 1) -> tuple[Reason, ...]:
    """Everything that keeps the member from having `quantity` of a reward; empty: it can be had.

    Order: member, dates, stock, limit, conditions in their order, account, points. Raises: QuantityTooLarge.
    """
    return tuple(_reasons(offer, here, quantity))


def _reasons(offer: Offer, here: Circumstances, quantity: int) -> Iterator[Reason]:
    reward, zone = offer.reward, here.zone
    on = local_date(here.facts.occurred_at, zone)
    cost = price(reward, quantity).points
    if here.blocked:
        yield Reason("member_blocked", {})
    if reward.from_on is not None and on < reward.from_on:
        yield Reason("not_before", {"from_on": reward.from_on, "from_at": midnight(reward.from_on, zone)})
    if reward.to_on is not None and on > reward.to_on:
        ended_at = midnight(reward.to_on + timedelta(days=1), zone)
        yield Reason("over", {"to_on": reward.to_on, "ended_at": ended_at})
    if reward.stocked and here.stock - here.reserved < quantity:
        yield Reason("sold_out", {"stock": here.stock, "reserved": here.reserved, "quantity": quantity})
    limit = reward.member_limit
    if limit is not None and here.used + quantity > limit.quantity:
        after = day_after(on, limit.period)
        yield Reason(
            "limit_reached",
            {
                "limit": limit.quantity,
                "used": here.used,
                "period": limit.period,
                "until": None if after is None else midnight(after, zone),
            },
        )
    if offer.checks:
        basket = Basket(here.facts, LineIndex(), zone, None)
        for check in offer.checks:
            if not check.holds(basket):
                why = check.why(basket)
                yield Reason(why.reason, why.figures)
    if here.frozen:
        yield Reason("account_frozen", {})
    if here.points < cost:
        missing = cost - here.points
        yield Reason("insufficient_points", {"wanted": cost, "available": here.points, "missing": missing})
