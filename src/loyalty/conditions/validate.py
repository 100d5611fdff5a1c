"""What is wrong with conditions before anything is judged by them: contradictions that types cannot show.

Whoever uses conditions says which of them look at what is not there, and what its lines may not be. Pure.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import date, timedelta
from typing import assert_never

from loyalty.base.errors import Fault
from loyalty.conditions.compile import demanded, over_midnight
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
    OfBasket,
    Tenure,
    Window,
)

DEPTH_MAX = 5
CONDITIONS_MAX = 100  # of one rule or reward

OfLines = Callable[[OfBasket, str], Iterator[Fault]]
TiersOf = Mapping[str, Collection[str]]


def faults(
    when: Condition, at: str, *, what: str, misplaced: tuple[type, ...], of_lines: OfLines, tiers: TiersOf
) -> Iterator[Fault]:
    """All faults of the conditions of one rule or reward (`what`), whose place is `at`.

    `misplaced` look at what is not there when it is judged; `of_lines` tells the faults of a basket's lines; `tiers`
    are those of the program by tier set.
    """
    depth, count = _size(when)
    if depth > DEPTH_MAX:
        yield Fault(at, "too_deep", f"Conditions are nested {depth} deep; {DEPTH_MAX} is the most.")
        return
    if count > CONDITIONS_MAX:
        yield Fault(
            at, "too_many_conditions", f"The {what} has {count} conditions; {CONDITIONS_MAX} is the most."
        )
        return
    own = list(_faults(when, at, what, misplaced, of_lines, tiers))
    yield from own
    if not own:
        reason = _contradiction(list(demanded(when)))
        if reason is not None:
            yield Fault(at, "never_matches", reason)


def _faults(
    condition: Condition, at: str, what: str, misplaced: tuple[type, ...], of_lines: OfLines, tiers: TiersOf
) -> Iterator[Fault]:
    if isinstance(condition, misplaced):
        kind = condition.__struct_config__.tag
        yield Fault(at, "misplaced_condition", f"{kind} cannot be judged for a {what}.")
        return
    match condition:
        case AllOf(of) | AnyOf(of):
            if not of:
                yield Fault(f"{at}/of", "empty_list", "At least one condition is needed.")
            for position, part in enumerate(of):
                yield from _faults(part, f"{at}/of/{position}", what, misplaced, of_lines, tiers)
        case Not(of):
            yield from _faults(of, f"{at}/of", what, misplaced, of_lines, tiers)
        case MinimumSpend() | HasLine():
            yield from of_lines(condition, f"{at}/lines")
        case Window():
            yield from _window_faults(condition, at)
        case InChannel(any_of) | AtLocation(any_of) | HasIdentifier(any_of):
            if not any_of:
                yield Fault(f"{at}/any_of", "empty_list", "At least one name is needed.")
        case HasTier(tier_set) if tier_set not in tiers:
            yield Fault(f"{at}/tier_set", "unknown_tier_set", f"The program has no tier set {tier_set}.")
        case HasTier(tier_set, at_least) if at_least not in tiers[tier_set]:
            yield Fault(f"{at}/at_least", "unknown_tier", f"{tier_set} has no tier {at_least}.")
        case Tenure() | HasTier():
            pass
        case _:
            assert_never(condition)


def _size(condition: Condition) -> tuple[int, int]:
    """Depth and number of conditions."""
    match condition:
        case AllOf(of) | AnyOf(of):
            parts = [_size(part) for part in of]
        case Not(of):
            parts = [_size(of)]
        case _:
            parts = []
    return 1 + max((depth for depth, _ in parts), default=0), 1 + sum(count for _, count in parts)


def _window_faults(window: Window, at: str) -> Iterator[Fault]:
    if window == Window():
        yield Fault(at, "empty_window", "The window names no date, weekday or clock time.")
    if window.from_time is not None and window.from_time == window.to_time:
        yield Fault(f"{at}/to_time", "empty_window", "The window ends at the clock time at which it begins.")
    if window.from_on is not None and window.to_on is not None:
        if window.to_on < window.from_on:
            yield Fault(f"{at}/to_on", "window_backwards", "The last day is before the first.")
        elif not any(day.isoweekday() in window.weekdays for day in _first_week(window)) and window.weekdays:
            yield Fault(f"{at}/weekdays", "never_matches", "None of the weekdays is between the two dates.")


def _first_week(window: Window) -> Iterator[date]:
    """The first days of a window with two dates, seven at most: all its weekdays are among them."""
    assert window.from_on is not None
    assert window.to_on is not None
    for days in range(min(7, (window.to_on - window.from_on).days + 1)):
        yield window.from_on + timedelta(days=days)


def _contradiction(parts: list[Condition]) -> str | None:
    """Why conditions that must all hold cannot, as far as can be seen from names, dates and weekdays."""
    for kind, word in ((InChannel, "channel"), (AtLocation, "location")):
        named = [set(part.any_of) for part in parts if isinstance(part, kind)]
        if named and not set[str].intersection(*named):
            return f"No {word} is in all of its lists."
    # Hours after midnight belong to the day before: such windows are left out of the comparison.
    windows = [part for part in parts if isinstance(part, Window) and not over_midnight(part)]
    first = max((window.from_on for window in windows if window.from_on), default=None)
    last = min((window.to_on for window in windows if window.to_on), default=None)
    if first is not None and last is not None and last < first:
        return "No date is in all of its windows."
    weekdays = [set(window.weekdays) for window in windows if window.weekdays]
    if weekdays and not set[int].intersection(*weekdays):
        return "No weekday is in all of its windows."
    if any(isinstance(part, Not) and part.of in parts for part in parts):
        return "One condition must hold and must not."
    return None
