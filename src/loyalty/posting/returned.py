"""What is left of a purchase, and what goes back with the rest: shares by quantity, in whole numbers.

Pure. A share is what has to be gone by now less what went before, so that parts in any order are exactly the whole.
Quantities are counted in *units*: thousandths, of a line bought with quantity 0 a single one, so that it can go.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from loyalty.base.numbers import split_largest_remainder
from loyalty.conditions.types import Facts, LineFacts
from loyalty.ledger.lots import Parts
from loyalty.posting.commands import PurchaseLine
from loyalty.posting.content import Content, facts_of
from loyalty.posting.detail import ReturnedPart
from loyalty.rules.types import Award


class Part(Struct, frozen=True):
    """One return of a purchase as it is stored."""

    returned: ReturnedPart
    taken: tuple[int, ...]  # points of each award, in their order; none: there was no award yet
    given: tuple[int, ...] = ()  # points given back of each hold that was captured; none: there was none


def units(lines: Iterable[PurchaseLine]) -> tuple[int, ...]:
    """How many units of each line were bought."""
    return tuple(line.quantity_milli or 1 for line in lines)


def left_after(bought: Sequence[int], parts: Iterable[ReturnedPart]) -> tuple[int, ...]:
    """How many units of each line are left."""
    left = list(bought)
    for part in parts:
        if part.complete:
            return (0,) * len(left)
        for position, returned in part.lines:
            left[position] -= returned
    return tuple(left)


def share(figure: int, whole: int, left: int) -> int:
    """The part of a line's figure that goes with what is no longer left of the line."""
    return figure * (whole - left) // whole if whole else 0


def gone(award: Award, whole: Sequence[int], left: Sequence[int]) -> int:
    """The points of an award that go with what is no longer left.

    `whole` are the units per line that the award's split stands for, `left` those that are left of them.
    """
    return sum(map(share, award.split, whole, left))


def spent(lines: Sequence[PurchaseLine], points: int, whole: Sequence[int], left: Sequence[int]) -> int:
    """Of the points that paid for a purchase, those that go with what is no longer left: shared by what was paid."""
    weights = [line.amount_minor for line in lines]
    return sum(map(share, split_largest_remainder(points, weights if any(weights) else whole), whole, left))


def taken_last(parts: Parts, before: int, points: int) -> Parts:
    """The lots of the last `points` of what was taken, in which `before` of them are passed over."""
    found: list[tuple[UUID, int]] = []
    for lot_id, taken in reversed(parts):
        over = min(before, taken)
        part = min(points, taken - over)
        before, points = before - over, points - part
        if part:
            found.append((lot_id, part))
    return tuple(found)


def due(wanted: Sequence[int], before: Iterable[Sequence[int]]) -> tuple[int, ...]:
    """What has to go now of each figure, when `wanted` has to be gone in all and `before` went already."""
    still = list(wanted)
    for gone in before:
        for index, points in enumerate(gone):
            still[index] -= points
    return tuple(max(0, points) for points in still)  # below 0: it went whole before


def amount(lines: Sequence[PurchaseLine], bought: Sequence[int], left: Sequence[int]) -> int:
    """What was paid for what is no longer left."""
    return sum(map(share, (line.amount_minor for line in lines), bought, left))


def kept(figures: Sequence[int], whole: Sequence[int], left: Sequence[int]) -> tuple[int, ...]:
    """What stays of a figure of each line."""
    return tuple(
        figure - gone for figure, gone in zip(figures, map(share, figures, whole, left), strict=True)
    )


def facts_judged(
    content: Content, occurred_at: datetime, basis: Mapping[str, tuple[int, ...]], left: Sequence[int] = ()
) -> Facts:
    """The purchase as if only what is `left` had been bought: lines that are gone are not in it.

    `basis` is what of each line may still earn; without `left` nothing went back.
    """
    if not left:
        return facts_of(content, occurred_at, basis)
    there = [position for position, units in enumerate(left) if units]
    bought = units(content.lines)
    return Facts(
        occurred_at=occurred_at,
        lines=tuple(_line_left(content.lines[n], bought[n], left[n]) for n in there),
        basis={code: tuple(figures[n] for n in there) for code, figures in basis.items()},
        channel=content.channel,
        location=content.location,
    )


def _line_left(line: PurchaseLine, bought: int, left: int) -> LineFacts:
    return LineFacts(
        line.sku,
        line.categories,
        line.tags,
        min(left, line.quantity_milli),
        line.amount_minor - share(line.amount_minor, bought, left),
    )


def placed(awards: tuple[Award, ...], left: Sequence[int]) -> tuple[Award, ...]:
    """Awards on what was left, their splits brought to the places of all lines; 0 where nothing was left."""
    if not left:
        return awards
    return tuple(replace(award, split=_spread(award.split, left)) for award in awards)


def _spread(figures: Sequence[int], left: Sequence[int]) -> tuple[int, ...]:
    rest = iter(figures)
    return tuple(next(rest) if units else 0 for units in left)
