"""Conditions compiled to checks, each with one decision (`holds`) and the figures that it compared (`why`).

Pure. What each condition means is written in docs/rules.md#conditions.
"""

from collections.abc import Iterator
from datetime import date, time, timedelta
from typing import Any, NamedTuple, Protocol, assert_never

from loyalty.conditions.basket import Basket, LineIndex, Selector
from loyalty.conditions.types import (
    AllOf,
    AnyOf,
    AtLocation,
    Condition,
    HasIdentifier,
    HasLine,
    HasTier,
    InChannel,
    MinimumSpend,
    Not,
    Tenure,
    Window,
)


class Why(NamedTuple):
    """Why a condition does not hold: a stable word and the figures compared."""

    reason: str
    figures: dict[str, Any]


class Check(Protocol):
    """A compiled condition."""

    def holds(self, basket: Basket) -> bool:
        """Whether the condition holds for the purchase."""
        ...

    def why(self, basket: Basket) -> Why:
        """The first reason why it does not hold. Needs: `holds` is false."""
        ...


def compile_condition(condition: Condition, index: LineIndex, points_currency: str) -> Check:
    """The check of `condition`; spend is what may earn `points_currency`."""
    match condition:
        case AllOf(of):
            return _All(tuple(compile_condition(c, index, points_currency) for c in of))
        case AnyOf(of):
            return _Any(tuple(compile_condition(c, index, points_currency) for c in of))
        case Not(of):
            return _Not(compile_condition(of, index, points_currency), of.__struct_config__.tag)
        case MinimumSpend(amount_minor, lines):
            return _MinimumSpend(amount_minor, index.choice(lines, points_currency))
        case HasLine(lines):
            return _HasLine(index.selector(lines))
        case Window():
            return _Window(condition)
        case InChannel(any_of):
            return _InChannel(frozenset(any_of))
        case AtLocation(any_of):
            return _AtLocation(frozenset(any_of))
        case HasTier(tier_set, at_least):
            return _HasTier(tier_set, at_least)
        case Tenure(days):
            return _Tenure(days)
        case HasIdentifier(any_of):
            return _HasIdentifier(frozenset(any_of))
        case _:
            assert_never(condition)


def demanded(condition: Condition | None) -> Iterator[Condition]:
    """The conditions that must all hold: those of nested `all`, one by one, in their order."""
    match condition:
        case None:
            return
        case AllOf(of):
            for part in of:
                yield from demanded(part)
        case _:
            yield condition


def asks(condition: Condition | None, kind: type) -> bool:
    """Whether a condition, or one that it is made of, is of a kind."""
    match condition:
        case None:
            return False
        case AllOf(of) | AnyOf(of):
            return any(asks(part, kind) for part in of)
        case Not(of):
            return asks(of, kind)
        case _:
            return isinstance(condition, kind)


def on_dates(window: Window, day: date) -> bool:
    """Whether a window's dates and weekdays hold `day`."""
    return (
        (window.from_on is None or window.from_on <= day)
        and (window.to_on is None or day <= window.to_on)
        and (not window.weekdays or day.isoweekday() in window.weekdays)
    )


def over_midnight(window: Window) -> bool:
    """Whether a window's clock times run into the next day."""
    return window.from_time is not None and window.to_time is not None and window.to_time < window.from_time


def in_hour(window: Window, hour: int) -> bool:
    """Whether a window's clock times hold some moment of an hour of the day (0–23)."""
    begins = window.from_time is None or window.from_time.hour <= hour
    ends = window.to_time is None or window.to_time > time(hour)
    return (begins and ends) or (over_midnight(window) and (begins or ends))


class _All:
    __slots__ = ("checks",)

    def __init__(self, checks: tuple[Check, ...]) -> None:
        self.checks = checks

    def holds(self, basket: Basket) -> bool:
        return all(check.holds(basket) for check in self.checks)

    def why(self, basket: Basket) -> Why:
        return next(check.why(basket) for check in self.checks if not check.holds(basket))


class _Any:
    __slots__ = ("checks",)

    def __init__(self, checks: tuple[Check, ...]) -> None:
        self.checks = checks

    def holds(self, basket: Basket) -> bool:
        return any(check.holds(basket) for check in self.checks)

    def why(self, basket: Basket) -> Why:
        parts = [check.why(basket) for check in self.checks]
        return Why("any", {"of": [{"reason": part.reason, **part.figures} for part in parts]})


class _Not:
    __slots__ = ("check", "kind")

    def __init__(self, check: Check, kind: Any) -> None:
        self.check = check
        self.kind = kind

    def holds(self, basket: Basket) -> bool:
        return not self.check.holds(basket)

    def why(self, basket: Basket) -> Why:
        return Why("not", {"of": self.kind})


class _MinimumSpend:
    __slots__ = ("amount_minor", "choice")

    def __init__(self, amount_minor: int, choice: int) -> None:
        self.amount_minor = amount_minor
        self.choice = choice

    def holds(self, basket: Basket) -> bool:
        return basket.chosen(self.choice)[1] >= self.amount_minor

    def why(self, basket: Basket) -> Why:
        basis_minor = basket.chosen(self.choice)[1]
        return Why("minimum_spend", {"amount_minor": self.amount_minor, "basis_minor": basis_minor})


class _HasLine:
    __slots__ = ("selector",)

    def __init__(self, selector: Selector) -> None:
        self.selector = selector

    def holds(self, basket: Basket) -> bool:
        return basket.lines(self.selector) != 0

    def why(self, basket: Basket) -> Why:
        return Why("has_line", {})


class _Window:
    __slots__ = ("over_midnight", "window")

    def __init__(self, window: Window) -> None:
        self.window = window
        self.over_midnight = over_midnight(window)

    def _failing(self, basket: Basket) -> str | None:
        """The first part of the window that does not hold."""
        window, local = self.window, basket.local
        day, clock = local.date(), local.time()
        if self.over_midnight and window.to_time is not None and clock < window.to_time:
            day -= timedelta(days=1)  # the hours after midnight belong to the evening before
        if window.from_on is not None and day < window.from_on:
            return "from_on"
        if window.to_on is not None and day > window.to_on:
            return "to_on"
        if window.weekdays and day.isoweekday() not in window.weekdays:
            return "weekdays"
        begun = window.from_time is None or clock >= window.from_time
        lasts = window.to_time is None or clock < window.to_time
        if (begun and lasts) or (self.over_midnight and (begun or lasts)):
            return None
        return "to_time" if begun else "from_time"

    def holds(self, basket: Basket) -> bool:
        return self._failing(basket) is None

    def why(self, basket: Basket) -> Why:
        local = basket.local.replace(tzinfo=None).isoformat(timespec="minutes")
        return Why("window", {"part": self._failing(basket), "local": local})


class _InChannel:
    __slots__ = ("any_of",)

    def __init__(self, any_of: frozenset[str]) -> None:
        self.any_of = any_of

    def holds(self, basket: Basket) -> bool:
        return basket.facts.channel in self.any_of

    def why(self, basket: Basket) -> Why:
        return Why("channel", {"channel": basket.facts.channel})


class _AtLocation:
    __slots__ = ("any_of",)

    def __init__(self, any_of: frozenset[str]) -> None:
        self.any_of = any_of

    def holds(self, basket: Basket) -> bool:
        return basket.facts.location in self.any_of

    def why(self, basket: Basket) -> Why:
        return Why("location", {"location": basket.facts.location})


class _HasTier:
    __slots__ = ("at_least", "tier_set")

    def __init__(self, tier_set: str, at_least: str) -> None:
        self.tier_set = tier_set
        self.at_least = at_least

    def holds(self, basket: Basket) -> bool:
        return self.at_least in basket.facts.member.tiers.get(self.tier_set, ())

    def why(self, basket: Basket) -> Why:
        held = basket.facts.member.tiers.get(self.tier_set, ())
        figures = {"tier_set": self.tier_set, "at_least": self.at_least, "tier": held[-1] if held else None}
        return Why("tier", figures)


class _Tenure:
    __slots__ = ("days",)

    def __init__(self, days: int) -> None:
        self.days = days

    def holds(self, basket: Basket) -> bool:
        has = basket.member_days
        return has is not None and has >= self.days

    def why(self, basket: Basket) -> Why:
        return Why("tenure", {"days": self.days, "member_days": basket.member_days})


class _HasIdentifier:
    __slots__ = ("any_of",)

    def __init__(self, any_of: frozenset[str]) -> None:
        self.any_of = any_of

    def holds(self, basket: Basket) -> bool:
        return not self.any_of.isdisjoint(basket.facts.member.identifier_kinds)

    def why(self, basket: Basket) -> Why:
        return Why("identifier", {"any_of": sorted(self.any_of)})
