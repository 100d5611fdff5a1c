"""What is wrong with a ruleset before anyone lives by it: contradictions that types cannot show.

Every fault says where (a JSON pointer into the ruleset), which (a stable code) and why in a sentence. A ruleset
without faults can be published. The codes are listed in docs/rules.md#faults. Pure.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from zoneinfo import ZoneInfo

from loyalty.base.errors import Fault
from loyalty.conditions.types import HasIdentifier, Lines, MinimumSpend, OfBasket, Tenure
from loyalty.conditions.validate import TiersOf
from loyalty.conditions.validate import faults as condition_faults
from loyalty.rules.types import Multiplier, OnReturn, PerSpend, Ruleset


def faults(
    ruleset: Ruleset, currencies: Collection[str], zone: ZoneInfo, tiers: TiersOf | None = None
) -> list[Fault]:
    """All faults of `ruleset`, in its own order.

    Needs: `currencies` are the codes of the program's points, `tiers` its tiers by tier set.
    """
    found: list[Fault] = []
    excluded = ruleset.excluded
    if excluded is not None:
        found += _lines_faults(excluded, "/excluded")
        if excluded == Lines():
            found.append(
                Fault("/excluded", "excludes_everything", "Every line is excluded: nothing can earn.")
            )

    def of_lines(condition: OfBasket, at: str) -> Iterator[Fault]:
        if isinstance(condition, MinimumSpend):
            return _earning_faults(condition.lines, excluded, at)
        return _lines_faults(condition.lines, at)

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
            found += condition_faults(
                rule.when,
                f"{at}/when",
                what="rule",
                misplaced=(Tenure, HasIdentifier),
                of_lines=of_lines,
                tiers=tiers or {},
            )
    return found


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
