"""A ruleset compiled for judging: rules in evaluation order, indexed by what they test.

The index may only leave out rules that cannot match; whether a rule matches is decided in evaluate.py.
Rules are numbered in evaluation order, a set of rules is a bit mask. Pure but for a memory of dates seen.
"""

from bisect import bisect_right
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from functools import reduce
from itertools import accumulate
from typing import TypeVar
from zoneinfo import ZoneInfo

from loyalty.base.calendar import period_of
from loyalty.conditions.basket import Basket, LineIndex
from loyalty.conditions.compile import (
    Check,
    asks,
    compile_condition,
    demanded,
    in_hour,
    on_dates,
    over_midnight,
)
from loyalty.conditions.types import (
    AtLocation,
    Condition,
    Facts,
    HasLine,
    HasTier,
    InChannel,
    Lines,
    MinimumSpend,
    Window,
)
from loyalty.rules.types import CounterKey, Fixed, Multiplier, PerSpend, Rule, Ruleset

_ORDER = {PerSpend: 0, Multiplier: 1, Fixed: 2}
_DATES_KEPT = 1_000
T = TypeVar("T")


def evaluation_order(rule: Rule) -> tuple[int, int, str]:
    """Base points first, then multipliers, then fixed bonuses; within each by priority (highest first), then id."""
    return _ORDER[type(rule.gives)], -rule.priority, rule.id


class CompiledRule:
    """One rule, its demanded conditions as checks in their order and its lines as a selector."""

    __slots__ = (
        "cap",
        "checks",
        "choice",
        "counter",
        "fixed",
        "id",
        "multiplier",
        "per_spend",
        "points_currency",
        "rule",
    )

    def __init__(self, rule: Rule, index: LineIndex, counter: int) -> None:
        self.rule = rule
        self.id = rule.id
        self.points_currency = rule.points_currency
        self.checks: tuple[Check, ...] = tuple(
            compile_condition(condition, index, rule.points_currency) for condition in demanded(rule.when)
        )
        self.choice = index.choice(rule.gives.lines, rule.points_currency)
        # What it gives, sorted out once: exactly one of the three is not None.
        self.per_spend = rule.gives if isinstance(rule.gives, PerSpend) else None
        self.multiplier = rule.gives if isinstance(rule.gives, Multiplier) else None
        self.fixed = rule.gives if isinstance(rule.gives, Fixed) else None
        self.cap = None if rule.member_cap is None else rule.member_cap.points
        self.counter = counter  # position among the counter keys, when there is a cap


class Compiled:
    """An immutable ruleset in a program's zone, ready for `evaluate`."""

    __slots__ = (
        "_any_channel",
        "_any_line",
        "_any_location",
        "_broad",
        "_by_channel",
        "_by_hour",
        "_by_location",
        "_by_names",
        "_by_spend",
        "_capped",
        "_counters_on",
        "_excluded",
        "_index",
        "_names",
        "_narrow",
        "_open_on",
        "_windowed",
        "_windows",
        "asks_tiers",
        "caps",
        "every",
        "rules",
        "zone",
    )

    def __init__(self, ruleset: Ruleset, zone: ZoneInfo) -> None:
        self.zone = zone
        self._index = LineIndex()
        ordered = sorted(ruleset.rules, key=evaluation_order)
        self.caps = {rule.id: rule.member_cap.points for rule in ordered if rule.member_cap}
        self._capped = [(rule.id, rule.member_cap.period) for rule in ordered if rule.member_cap]
        counters = accumulate((rule.member_cap is not None for rule in ordered), initial=0)
        self.rules: tuple[CompiledRule, ...] = tuple(
            CompiledRule(rule, self._index, counter) for rule, counter in zip(ordered, counters, strict=False)
        )
        self.every = (1 << len(self.rules)) - 1
        self.asks_tiers = any(asks(rule.when, HasTier) for rule in ordered)
        self._excluded = None if ruleset.excluded is None else self._index.selector(ruleset.excluded)
        self._names = {rule.id: rule.rule.name for rule in self.rules}
        self._counters_on: dict[date, tuple[CounterKey, ...]] = {}

        parts = [list(demanded(rule.rule.when)) for rule in self.rules]
        self._any_channel, self._by_channel = _by_name(parts, InChannel)
        self._any_location, self._by_location = _by_name(parts, AtLocation)
        self._any_line, self._by_names = self._by_lines(parts)
        self._by_spend = [self._spends(code, parts) for code in {rule.points_currency for rule in ordered}]
        self._windows = [
            (1 << position, condition)
            for position, conditions in enumerate(parts)
            for condition in conditions
            if isinstance(condition, Window)
        ]
        timed = [(bit, window) for bit, window in self._windows if window.from_time or window.to_time]
        self._by_hour = [
            self.every & ~_union(bit for bit, window in timed if not in_hour(window, hour))
            for hour in range(24)
        ]
        self._windowed = _union(bit for bit, _ in self._windows)
        self._open_on: dict[date, int] = {}
        # How many rules ask for no line by name, and how many at most for the same name.
        self._broad = self._any_line.bit_count()
        named = (
            *self._index.by_sku.values(),
            *self._index.by_category.values(),
            *self._index.by_tag.values(),
        )
        self._narrow = max(
            (sum(self._by_names.get(number, 0).bit_count() for number in numbers) for numbers in named),
            default=0,
        )

    def _by_lines(self, parts: list[list[Condition]]) -> tuple[int, dict[int, int]]:
        """Rules that any basket may match, and the others by one set of names of which they need a line."""
        free = 0
        by_names: dict[int, int] = {}
        for position, rule in enumerate(self.rules):
            conditions = (c for c in parts[position] if isinstance(c, HasLine | MinimumSpend))
            lines = [rule.rule.gives.lines, *(condition.lines for condition in conditions)]
            needed = [self._index.selector(one) for one in lines]
            names = next((selector.named for selector in needed if selector.named is not None), None)
            if names is None:
                free |= 1 << position
            else:
                by_names[names] = by_names.get(names, 0) | 1 << position
        return free, by_names

    def _spends(self, points_currency: str, parts: list[list[Condition]]) -> tuple[int, list[int], list[int]]:
        """The choice of all lines, the rising spends that rules demand of it, and the rules open from each on."""
        demands: dict[int, int] = {}
        for position, (rule, conditions) in enumerate(zip(self.rules, parts, strict=True)):
            if rule.points_currency == points_currency:
                # Spend on some of the lines is spend on all of them.
                demand = max((c.amount_minor for c in conditions if isinstance(c, MinimumSpend)), default=0)
                demands[demand] = demands.get(demand, 0) | 1 << position
        steps = sorted(demands.keys() - {0})
        everyone_else = self.every & ~_union(demands[step] for step in steps)
        reached = accumulate((demands[step] for step in steps), int.__or__, initial=everyone_else)
        return self._index.choice(Lines(), points_currency), steps, list(reached)

    def name(self, rule_id: str) -> str:
        """What a receipt calls a rule; its id when the ruleset has no such rule."""
        return self._names.get(rule_id, rule_id)

    def basket(self, facts: Facts) -> Basket:
        """The purchase, looked at once for all rules."""
        return Basket(facts, self._index, self.zone, self._excluded)

    def reach(self, names: int) -> int:
        """How many rules may match a purchase whose lines bear so many names (sku, categories, tags) at most."""
        return min(len(self.rules), self._broad + names * self._narrow)

    def candidates(self, basket: Basket) -> int:
        """The rules that may match: all others certainly give nothing."""
        mask, by_names = self._any_line, self._by_names
        for number in basket.found:
            if number in by_names:
                mask |= by_names[number]
        if self._by_channel:
            mask &= self._by_channel.get(basket.facts.channel, self._any_channel)
        if self._by_location:
            mask &= self._by_location.get(basket.facts.location, self._any_location)
        for choice, steps, masks in self._by_spend:
            mask &= masks[bisect_right(steps, basket.chosen(choice)[1])]
        if mask & self._windowed:
            mask &= self._by_hour[basket.local.hour]
            if mask & self._windowed:
                mask &= self._open(basket.local.date())
        return mask

    def _open(self, day: date) -> int:
        """The rules whose dates and weekdays allow a purchase on `day`."""
        mask = self._open_on.get(day)
        if mask is None:
            before = day - timedelta(days=1)
            mask = self.every & ~_union(
                bit
                for bit, window in self._windows
                if not (on_dates(window, day) or (over_midnight(window) and on_dates(window, before)))
            )
            _remember(self._open_on, day, mask)
        return mask

    def counter_keys(self, occurred_at: datetime) -> tuple[CounterKey, ...]:
        """The counters that the caps of all rules look at for a purchase at `occurred_at`."""
        return self.counters_on(occurred_at.astimezone(self.zone).date()) if self._capped else ()

    def counters_on(self, day: date) -> tuple[CounterKey, ...]:
        """The same for a local date; a rule's own is at its `counter`."""
        keys = self._counters_on.get(day)
        if keys is None:
            keys = tuple(CounterKey(rule_id, period_of(day, period)) for rule_id, period in self._capped)
            _remember(self._counters_on, day, keys)
        return keys


def compile_ruleset(ruleset: Ruleset, zone: ZoneInfo) -> Compiled:
    """`ruleset` ready for judging purchases by the clocks of `zone`."""
    return Compiled(ruleset, zone)


def _union(masks: Iterable[int]) -> int:
    return reduce(int.__or__, masks, 0)


def _by_name(
    parts: list[list[Condition]], kind: type[InChannel | AtLocation]
) -> tuple[int, dict[str | None, int]]:
    """Rules that no condition of `kind` binds, and for each name these and the ones it allows."""
    free = 0
    bound: dict[int, frozenset[str]] = {}
    for position, conditions in enumerate(parts):
        allowed = [frozenset(c.any_of) for c in conditions if isinstance(c, kind)]
        if allowed:
            bound[1 << position] = frozenset[str].intersection(*allowed)
        else:
            free |= 1 << position
    by_name: dict[str | None, int] = {name: free for names in bound.values() for name in names}
    for bit, names in bound.items():
        for name in names:
            by_name[name] |= bit
    return free, by_name


def _remember(memory: dict[date, T], day: date, value: T) -> None:
    if len(memory) >= _DATES_KEPT:
        memory.clear()
    memory[day] = value
