"""What is wrong with a ruleset before anyone lives by it: contradictions that types cannot show.

Every fault says where (a JSON pointer into the ruleset), which (a stable code) and why in a sentence. A ruleset
without faults can be published. The codes are listed in docs/rules.md#faults. Pure.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from datetime import date, timedelta
from typing import assert_never
from zoneinfo import ZoneInfo

from loyalty.base.errors import Fault
from loyalty.conditions.compile import demanded, over_midnight
from loyalty.conditions.types import (
    AllOf,
    AnyOf,
    AtLocation,
    Condition,
    HasLine,
    InChannel,
    Lines,
    MinimumSpend,
    Not,
    Window,
)
from loyalty.rules.types import Multiplier, OnReturn, PerSpend, Rule, Ruleset

DEPTH_MAX = 5
CONDITIONS_MAX = 100  # in one rule


def faults(ruleset: Ruleset, currencies: Collection[str], zone: ZoneInfo) -> list[Fault]:
    """All faults of `ruleset`, in its own order. Needs: `currencies` are the codes of the program's points."""
    found: list[Fault] = []
    excluded = ruleset.excluded
    if excluded is not None:
        found += _lines_faults(excluded, "/excluded")
        if excluded == Lines():
            found.append(
                Fault("/excluded", "excludes_everything", "Every line is excluded: nothing can earn.")
            )
    times = Counter(rule.id for rule in ruleset.rules)
    with_base = {rule.points_currency for rule in ruleset.rules if isinstance(rule.gives, PerSpend)}
    seen: set[str] = set()
    for position, rule in enumerate(ruleset.rules):
        at = f"/rules/{position}"
        if times[rule.id] > 1 and rule.id in seen:
            found.append(Fault(f"{at}/id", "duplicate_rule_id", f"Another rule has the id {rule.id}."))
        seen.add(rule.id)
        if not rule.name.isprintable() or not rule.name.strip():
            found.append(Fault(f"{at}/name", "unprintable_name", "The name cannot be printed on a receipt."))
        if rule.points_currency not in currencies:
            message = f"The program has no points currency {rule.points_currency}."
            found.append(Fault(f"{at}/points_currency", "unknown_points_currency", message))
        elif isinstance(rule.gives, Multiplier) and rule.points_currency not in with_base:
            message = f"No per_spend rule gives base points in {rule.points_currency}."
            found.append(Fault(f"{at}/gives", "multiplier_without_base", message))
        found += _earning_faults(rule.gives.lines, excluded, f"{at}/gives/lines")
        if rule.when is None and rule.on_return is OnReturn.ALL_IF_UNMET:
            message = "The rule has no conditions that a return could leave unmet."
            found.append(Fault(f"{at}/on_return", "nothing_to_judge", message))
        if rule.when is not None:
            found += _rule_condition_faults(rule, rule.when, excluded, f"{at}/when")
    return found


def _rule_condition_faults(rule: Rule, when: Condition, excluded: Lines | None, at: str) -> Iterator[Fault]:
    depth, count = _size(when)
    if depth > DEPTH_MAX:
        yield Fault(at, "too_deep", f"Conditions are nested {depth} deep; {DEPTH_MAX} is the most.")
        return
    if count > CONDITIONS_MAX:
        yield Fault(
            at, "too_many_conditions", f"The rule has {count} conditions; {CONDITIONS_MAX} is the most."
        )
        return
    own = list(_condition_faults(when, excluded, at))
    yield from own
    if not own:
        reason = _contradiction(list(demanded(when)))
        if reason is not None:
            yield Fault(at, "never_matches", reason)


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


def _condition_faults(condition: Condition, excluded: Lines | None, at: str) -> Iterator[Fault]:
    match condition:
        case AllOf(of) | AnyOf(of):
            if not of:
                yield Fault(f"{at}/of", "empty_list", "At least one condition is needed.")
            for position, part in enumerate(of):
                yield from _condition_faults(part, excluded, f"{at}/of/{position}")
        case Not(of):
            yield from _condition_faults(of, excluded, f"{at}/of")
        case MinimumSpend(_, lines):
            yield from _earning_faults(lines, excluded, f"{at}/lines")
        case HasLine(lines):
            yield from _lines_faults(lines, f"{at}/lines")
        case Window():
            yield from _window_faults(condition, at)
        case InChannel(any_of) | AtLocation(any_of):
            if not any_of:
                yield Fault(f"{at}/any_of", "empty_list", "At least one name is needed.")
        case _:
            assert_never(condition)


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


def _lines_faults(lines: Lines, at: str) -> Iterator[Fault]:
    """Lines whose every wanted name is also unwanted."""
    wanted = _wanted(lines)
    unwanted = (
        {("sku", name) for name in lines.not_skus}
        | {("category", name) for name in lines.not_categories}
        | {("tag", name) for name in lines.not_tags}
    )
    if wanted and wanted <= unwanted:
        yield Fault(at, "never_matches", "Every name that is wanted is also unwanted.")


def _earning_faults(lines: Lines, excluded: Lines | None, at: str) -> Iterator[Fault]:
    """The same for lines that must earn: they may not all be among the excluded ones."""
    own = list(_lines_faults(lines, at))
    yield from own
    if own or excluded is None:
        return
    spared = excluded.not_skus or excluded.not_categories or excluded.not_tags
    wanted = _wanted(lines)
    if wanted and not spared and wanted <= _wanted(excluded):
        yield Fault(at, "never_matches", "All these lines are excluded from earning.")


def _wanted(lines: Lines) -> set[tuple[str, str]]:
    return (
        {("sku", name) for name in lines.skus}
        | {("category", name) for name in lines.categories}
        | {("tag", name) for name in lines.tags}
    )


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
