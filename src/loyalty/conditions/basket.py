"""One purchase as conditions look at it: each line is looked at once, whatever the number of rules.

A `LineIndex` numbers the sets of names that a ruleset tests. A `Basket` notes for each number the lines
that bear such a name, as a bit mask (bit 0 is the first line). Pure.
"""

from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from loyalty.base.calendar import local_date
from loyalty.conditions.types import Facts, Lines


class Selector(NamedTuple):
    """Compiled `Lines`: numbers of the set that must be met and of the set that must not."""

    named: int | None  # None: every line
    barred: int | None


class LineIndex:
    """The name sets of one ruleset, by each name in them."""

    __slots__ = ("_choices", "_numbers", "by_category", "by_sku", "by_tag", "choices")

    def __init__(self) -> None:
        self.by_sku: dict[str, tuple[int, ...]] = {}
        self.by_category: dict[str, tuple[int, ...]] = {}
        self.by_tag: dict[str, tuple[int, ...]] = {}
        self.choices: list[tuple[Selector, str]] = []
        self._numbers: dict[tuple[frozenset[str], frozenset[str], frozenset[str]], int] = {}
        self._choices: dict[tuple[Selector, str], int] = {}

    def selector(self, lines: Lines) -> Selector:
        """The selector of `lines`; equal sets of names share a number."""
        return Selector(
            self._number(lines.skus, lines.categories, lines.tags),
            self._number(lines.not_skus, lines.not_categories, lines.not_tags),
        )

    def choice(self, lines: Lines, points_currency: str) -> int:
        """The number under which `Basket.chosen` finds these lines and what they may earn in a points currency."""
        wanted = self.selector(lines), points_currency
        if wanted not in self._choices:
            self._choices[wanted] = len(self.choices)
            self.choices.append(wanted)
        return self._choices[wanted]

    def _number(
        self, skus: tuple[str, ...], categories: tuple[str, ...], tags: tuple[str, ...]
    ) -> int | None:
        if not (skus or categories or tags):
            return None
        names = frozenset(skus), frozenset(categories), frozenset(tags)
        number = self._numbers.get(names)
        if number is None:
            number = self._numbers[names] = len(self._numbers)
            for index, wanted in zip((self.by_sku, self.by_category, self.by_tag), names, strict=True):
                for name in wanted:
                    index[name] = (*index.get(name, ()), number)
        return number


class Basket:
    """The facts of one purchase, with what conditions need of them worked out once."""

    __slots__ = ("_chosen", "_index", "_local", "_zone", "earning", "every", "facts", "found")

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
        self.every = self.earning = bit - 1
        if excluded is not None:
            self.earning &= ~self.lines(excluded)
        self._index = index
        self._zone = zone
        self._local: datetime | None = None
        self._chosen: dict[int, tuple[int, int]] = {}

    @property
    def local(self) -> datetime:
        """When it happened, on the program's clocks."""
        if self._local is None:
            self._local = self.facts.occurred_at.astimezone(self._zone)
        return self._local

    @property
    def member_days(self) -> int | None:
        """Local dates since the member was enrolled; None where there is no member."""
        since = self.facts.member.enrolled_at
        return None if since is None else (self.local.date() - local_date(since, self._zone)).days

    def lines(self, selector: Selector) -> int:
        """The lines that are meant, excluded ones among them."""
        named, barred = selector
        mask = self.every if named is None else self.found.get(named, 0)
        return mask if barred is None else mask & ~self.found.get(barred, 0)

    def chosen(self, choice: int) -> tuple[int, int]:
        """The lines of a choice without the excluded ones, and what may earn on them in all."""
        if choice in self._chosen:
            return self._chosen[choice]
        selector, points_currency = self._index.choices[choice]
        lines = self.lines(selector) & self.earning
        figures = self.facts.basis.get(points_currency, ())
        chosen = self._chosen[choice] = lines, sum_on(figures, lines, self.every)
        return chosen


def sum_on(figures: tuple[int, ...], lines: int, every: int) -> int:
    """The sum of the figures of some lines; no figures at all are zeros."""
    if lines == every or not figures:
        return sum(figures)
    total = 0
    while lines:
        position = lines.bit_length() - 1
        total += figures[position]
        lines ^= 1 << position
    return total


def only_on(figures: tuple[int, ...], lines: int, every: int) -> tuple[int, ...]:
    """The figures of some lines, with 0 on the others."""
    if lines == every:
        return figures
    return tuple([figure if lines >> position & 1 else 0 for position, figure in enumerate(figures)])
