"""What the rules give for the facts of one purchase: pure, whole numbers, the same for ever.

Only the rules that the index lets through are judged, all of them when an explanation is asked for. What each
rule means is written in docs/rules.md; a change of meaning raises EVALUATOR in types.py.
"""

from collections.abc import Mapping

from loyalty.base.numbers import rounded, split_largest_remainder
from loyalty.conditions.basket import Basket, masked
from loyalty.conditions.types import Facts
from loyalty.rules.compile import Compiled, CompiledRule, period_of
from loyalty.rules.types import Award, CounterKey, Evaluation, Fixed, Multiplier, PerSpend, Unmet


def evaluate(
    compiled: Compiled, facts: Facts, counters: Mapping[CounterKey, int], *, explain: bool = False
) -> Evaluation:
    """Awards above 0 in evaluation order, and with `explain` why every other rule gave nothing.

    Order: base points, multipliers, fixed bonuses; within each by priority (highest first), then id.
    Needs: `counters` say what `counter_keys` already hold for the member; a missing one is 0.
    """
    basket = compiled.basket(facts)
    base: dict[str, tuple[int, ...]] = {}
    awards: list[Award] = []
    unmet: list[Unmet] = []
    counted: list[tuple[CounterKey, int]] = []
    rules = compiled.rules
    waiting = compiled.every if explain else compiled.candidates(basket)
    while waiting:
        lowest = waiting & -waiting
        waiting ^= lowest
        rule = rules[lowest.bit_length() - 1]
        found = _judge(rule, basket, base, counters, explain)
        if found is None:
            continue
        if isinstance(found, Unmet):
            unmet.append(found)
            continue
        awards.append(found)
        if isinstance(rule.gives, PerSpend):
            before = base.get(rule.points_currency)
            base[rule.points_currency] = (
                found.split
                if before is None
                else tuple([a + b for a, b in zip(before, found.split, strict=True)])
            )
        if rule.member_cap is not None:
            counted.append((_counter(rule, basket), found.points))
    return Evaluation(tuple(awards), tuple(unmet), tuple(counted))


def _judge(
    rule: CompiledRule,
    basket: Basket,
    base: dict[str, tuple[int, ...]],
    counters: Mapping[CounterKey, int],
    explain: bool,
) -> Award | Unmet | None:
    """The award of one rule, or why there is none (only told when explaining)."""
    for check in rule.checks:
        if not check.holds(basket):
            if not explain:
                return None
            reason, figures = check.why(basket)
            return Unmet(rule.id, reason, figures)

    lines = basket.lines(rule.selector) & basket.earning
    if not lines:
        return Unmet(rule.id, "no_matching_line") if explain else None
    weights, basis = basket.basis(rule.points_currency, lines)

    match rule.gives:
        case PerSpend(points, each_minor, rounding):
            wanted = rounded(basis, each_minor, rounding) * points
            figures = {"basis_minor": basis, "each_minor": each_minor}
            too_little = "below_step"
        case Multiplier(factor_bps, rounding):
            weights = masked(base.get(rule.points_currency, ()), lines, basket.every)
            points = sum(weights)
            wanted = rounded(points * (factor_bps - 10_000), 10_000, rounding)
            figures = {"base_points": points, "factor_bps": factor_bps}
            too_little = "below_one_point" if points else "no_base_points"
        case Fixed(points):
            wanted, figures, too_little = points, {}, ""
            if not basis:
                weights = masked((1,) * len(basket.facts.lines), lines, basket.every)
    if not wanted:
        return Unmet(rule.id, too_little, figures) if explain else None

    cap = rule.member_cap
    if cap is None:
        split = split_largest_remainder(wanted, weights)
        return Award(rule.id, rule.points_currency, wanted, wanted, basis, split)
    counter = _counter(rule, basket)
    used = counters.get(counter, 0)
    points = min(wanted, max(0, cap.points - used))
    if not points:
        figures = {"wanted": wanted, "cap": cap.points, "used": used, "period": counter.period}
        return Unmet(rule.id, "member_cap", figures) if explain else None
    split = split_largest_remainder(points, weights)
    cut_by = "member_cap" if points < wanted else None
    return Award(rule.id, rule.points_currency, points, wanted, basis, split, cut_by)


def _counter(rule: CompiledRule, basket: Basket) -> CounterKey:
    """The counter of a capped rule in the period of the purchase."""
    assert rule.member_cap is not None
    return CounterKey(rule.id, period_of(basket.local.date(), rule.member_cap.period))
