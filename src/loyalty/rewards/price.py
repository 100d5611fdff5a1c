"""What a reward costs, and what points are worth when they pay. Pure."""

from msgspec import Struct

from loyalty.programs.types import PayPolicy
from loyalty.rewards.types import (
    PointsAboveMaximum,
    PointsBelowMinimum,
    PointsNotInStep,
    QuantityTooLarge,
    Reward,
)


class Price(Struct, frozen=True):
    points: int
    money_minor: int


def price(reward: Reward, quantity: int) -> Price:
    """What `quantity` of a reward cost. Raises: QuantityTooLarge."""
    if quantity > reward.quantity_max:
        raise QuantityTooLarge(quantity=quantity, quantity_max=reward.quantity_max)
    return Price(reward.points * quantity, reward.money_minor * quantity)


def worth(pay: PayPolicy, points: int) -> int:
    """The money in minor units that `points` pay, rounded down once.

    Raises: PointsBelowMinimum, PointsNotInStep, PointsAboveMaximum, in this order.
    """
    if points < pay.points_min:
        raise PointsBelowMinimum(points=points, points_min=pay.points_min)
    if points % pay.step:
        raise PointsNotInStep(points=points, step=pay.step, lower=points - points % pay.step)
    if points > pay.points_max:
        raise PointsAboveMaximum(points=points, points_max=pay.points_max)
    return points * pay.each_minor // pay.points
