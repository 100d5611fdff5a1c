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


# Read once: looking a member up in its class is slow before Python 3.12.
_FLOOR, _CEILING = Rounding.FLOOR, Rounding.CEILING


def rounded(numerator: int, denominator: int, rounding: Rounding) -> int:
    """`numerator` / `denominator` as a whole number. Needs: numerator ≥ 0, denominator > 0."""
    if rounding is _FLOOR:
        return numerator // denominator
    if rounding is _CEILING:
        return -(-numerator // denominator)
    return (2 * numerator + denominator) // (2 * denominator)


def split_largest_remainder(total: int, weights: Sequence[int]) -> tuple[int, ...]:
    """`total` shared by weight: each part first rounded down, then one more for the largest remainders.

    Order: equal remainders are served by position. A weight of 0 gets 0.
    Needs: total ≥ 0, weights ≥ 0 and, unless total is 0, one of them above 0.
    """
    whole = sum(weights)
    assert whole or not total, "nothing to split on"
    if whole in weights:  # one weight carries all, or all are 0
        parts = [0] * len(weights)
        parts[weights.index(whole)] = total
        return tuple(parts)
    shares = [total * weight for weight in weights]
    parts = [share // whole for share in shares]
    left = total - sum(parts)
    if left:
        # Minus the remainders, so that a sort puts the largest first.
        excesses = [part * whole - share for part, share in zip(parts, shares, strict=True)]
        for position in sorted(range(len(parts)), key=excesses.__getitem__)[:left]:
            parts[position] += 1
    return tuple(parts)


def decimal(thousandths: int) -> str:
    """Thousandths as a decimal number: 2, 0.512."""
    whole, part = divmod(thousandths, 1_000)
    return f"{whole}.{part:03}".rstrip("0") if part else str(whole)
