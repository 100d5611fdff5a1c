"""What is wrong with a catalogue before anybody redeems from it.

Every fault says where (a JSON pointer into the catalogue), which (a stable code) and why. Pure.
"""

from collections.abc import Iterator, Mapping, Sequence

from loyalty.base.errors import Fault
from loyalty.conditions.types import HasLine, MinimumSpend, OfBasket
from loyalty.conditions.validate import TiersOf
from loyalty.conditions.validate import faults as condition_faults
from loyalty.programs.types import PointsCurrency
from loyalty.rewards.types import Reward


def faults(
    rewards: Sequence[Reward], currencies: Mapping[str, PointsCurrency], tiers: TiersOf | None = None
) -> Iterator[Fault]:
    """All faults of a catalogue, in its own order.

    Needs: the program's points currencies by code, its tiers by tier set.
    """
    seen: set[str] = set()
    for position, reward in enumerate(rewards):
        at = f"/{position}"
        if reward.id in seen:
            yield Fault(f"{at}/id", "duplicate_reward_id", f"Another reward has the id {reward.id}.")
        seen.add(reward.id)
        if not reward.name.isprintable() or not reward.name.strip():
            yield Fault(f"{at}/name", "unprintable_name", "The name cannot be printed on a receipt.")
        currency = currencies.get(reward.points_currency)
        if currency is None:
            message = f"The program has no points currency {reward.points_currency}."
            yield Fault(f"{at}/points_currency", "unknown_points_currency", message)
        elif not currency.spendable:
            message = f"{reward.points_currency} cannot be spent."
            yield Fault(f"{at}/points_currency", "not_spendable", message)
        if reward.from_on is not None and reward.to_on is not None and reward.to_on < reward.from_on:
            yield Fault(f"{at}/to_on", "contradictory_range", "The last day is before the first.")
        if reward.when is not None:
            yield from condition_faults(
                reward.when,
                f"{at}/when",
                what="reward",
                misplaced=(MinimumSpend, HasLine),
                of_lines=_no_lines,
                tiers=tiers or {},
            )


def _no_lines(condition: OfBasket, at: str) -> Iterator[Fault]:
    """Never asked: conditions on a basket are misplaced in a reward."""
    raise AssertionError(condition, at)
