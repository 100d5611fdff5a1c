"""One purchase as conditions look at it: each line is looked at once, whatever the number of rules.

A `LineIndex` numbers the sets of names that a ruleset tests. A `Basket` notes for each number the lines
that bear such a name, as a bit mask (bit 0 is the first line). Pure.
"""

from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from loyalty.conditions.types import Facts, Lines

_NONE: tuple[int, ...] = ()


class Selector(NamedTuple):
    """Compiled `Lines`: numbers of the set that must be met and of the set that must not."""

    named: int | None  # None: every line
    barred: int | None


class LineIndex:
    """The name sets of one ruleset, by each name in them."""

    __slots__ = ("_numbers", "by_category", "by_sku", "by_tag")

    def __init__(self) -> None:
        self.by_sku: dict[str, tuple[int, ...]] = {}
        self.by_category: dict[str, tuple[int, ...]] = {}
        self.by_tag: dict[str, tuple[int, ...]] = {}
        self._numbers: dict[tuple[frozenset[str], frozenset[str], frozenset[str]], int] = {}

    def selector(self, lines: Lines) -> Selector:
        """The selector of `lines`; equal sets of names share a number."""
        return Selector(
            self._number(lines.skus, lines.categories, lines.tags),
            self._number(lines.not_skus, lines.not_categories, lines.not_tags),
        )

    def _number(
        self, skus: tuple[str, ...], categories: tuple[str, ...], tags: tuple[str, ...]
    ) -> int | None:
        names = frozenset(skus), frozenset(categories), frozenset(tags)
        if not any(names):
            return None
        number = self._numbers.get(names)
        if number is None:
            number = self._numbers[names] = len(self._numbers)
            for index, wanted in zip((self.by_sku, self.by_category, self.by_tag), names, strict=True):
                for name in wanted:
                    index[name] = (*index.get(name, _NONE), number)
        return number


class Basket:
    """The facts of one purchase, with what conditions need of them worked out once."""

    __slots__ = ("_local", "_weights", "_zone", "earning", "every", "facts", "found")

    def __init__(self, facts: Facts, index: LineIndex, zone: ZoneInfo, excluded: Selector | None) -> None:
        by_sku, by_category, by_tag = index.by_sku, index.by_category, index.by_tag
        found: dict[int, int] = {}
        bit = 1
        for line in facts.lines:
            if line.sku in by_sku:
                for number in by_sku[line.sku]:
                    found[number] = found.get(number, 0) | bit
            for name in line.categories:
                if name in by_category:
                    for number in by_category[name]:
                        found[number] = found.get(number, 0) | bit
            for name in line.tags:
                if name in by_tag:
                    for number in by_tag[name]:
                        found[number] = found.get(number, 0) | bit
            bit <<= 1
        self.facts = facts
        self.found = found  # set number → lines
        self.every = bit - 1
        self.earning = bit - 1  # all but the excluded
        if excluded is not None:
            self.earning &= ~self.lines(excluded)
        self._zone = zone
        self._local: datetime | None = None
        self._weights: dict[tuple[str, int], tuple[tuple[int, ...], int]] = {}

    @property
    def local(self) -> datetime:
        """When it happened, on the program's clocks."""
        if self._local is None:
            self._local = self.facts.occurred_at.astimezone(self._zone)
        return self._local

    def lines(self, selector: Selector) -> int:
        """The lines that are meant, excluded ones among them."""
        named, barred = selector
        mask = self.every if named is None else self.found.get(named, 0)
        return mask if barred is None else mask & ~self.found.get(barred, 0)

    def basis(self, points_currency: str, mask: int) -> tuple[tuple[int, ...], int]:
        """What may earn on the lines of `mask` by position (0 elsewhere), and its sum."""
        known = self._weights.get((points_currency, mask))
        if known is None:
            weights = masked(self.facts.basis.get(points_currency, ()), mask, self.every)
            known = self._weights[points_currency, mask] = weights, sum(weights)
        return known


def masked(figures: tuple[int, ...], mask: int, every: int) -> tuple[int, ...]:
    """`figures` with 0 on the lines that are not in `mask`."""
    if mask == every or not figures:
        return figures
    kept = [0] * len(figures)
    while mask:
        position = mask.bit_length() - 1
        kept[position] = figures[position]
        mask ^= 1 << position
    return tuple(kept)
