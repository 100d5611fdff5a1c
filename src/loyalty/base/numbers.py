"""Whole-number arithmetic: one rounding, one way to split. Pure, without floats.

Rounding happens once, where a rule says so; every split adds up to its total.
"""

from collections.abc import Sequence
from enum import StrEnum


class Rounding(StrEnum):
    """What becomes of a fraction. Halves go up."""

    FLOOR = "floor"
    HALF_UP = "half_up"
    CEILING = "ceiling"


def rounded(numerator: int, denominator: int, rounding: Rounding) -> int:
    """`numerator` / `denominator` as a whole number. Needs: numerator ≥ 0, denominator > 0."""
    if rounding is Rounding.FLOOR:
        return numerator // denominator
    if rounding is Rounding.CEILING:
        return -(-numerator // denominator)
    return (2 * numerator + denominator) // (2 * denominator)


def split_largest_remainder(total: int, weights: Sequence[int]) -> tuple[int, ...]:
    """`total` shared by weight: each part first rounded down, then one more for the largest remainders.

    Order: equal remainders are served by position. A weight of 0 gets 0.
    Needs: total ≥ 0, weights ≥ 0 and, unless total is 0, one of them above 0.
    """
    whole = sum(weights)
    if whole == 0:
        assert total == 0, "nothing to split on"
        return (0,) * len(weights)
    shares = [total * weight for weight in weights]
    parts = [share // whole for share in shares]
    left = total - sum(parts)
    if left:
        remainders = [share % whole for share in shares]
        # A reversed sort is stable: of equal remainders the first position stays first.
        for position in sorted(range(len(parts)), key=remainders.__getitem__, reverse=True)[:left]:
            parts[position] += 1
    return tuple(parts)
