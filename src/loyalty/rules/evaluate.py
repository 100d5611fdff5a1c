"""What the rules give for the facts of one purchase: pure, whole numbers, the same for ever.

Only the rules that the index lets through are judged, all of them when an explanation is asked for. What each
rule means is written in docs/rules.md; a change of meaning raises EVALUATOR in types.py.
"""

from collections.abc import Collection, Mapping
from operator import add

from loyalty.base.numbers import rounded, split_largest_remainder
from loyalty.conditions.basket import Basket, only_on, sum_on
from loyalty.conditions.types import Facts
from loyalty.rules.compile import Compiled, CompiledRule
from loyalty.rules.types import Award, CounterKey, Evaluation, OnReturn, Unmet


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
        counter = None if rule.cap is None else compiled.counters_on(basket.local.date())[rule.counter]
        award = _award(rule, basket, base, counter, counters, unmet if explain else None)
        if award is None:
            continue
        awards.append(award)
        if rule.per_spend is not None:
            before = base.get(rule.points_currency)
            split = award.split if before is None else tuple(map(add, before, award.split))
            base[rule.points_currency] = split
        if counter is not None:
            counted.append((counter, award.points))
    return Evaluation(tuple(awards), tuple(unmet), tuple(counted))


def stands(evaluation: Evaluation, compiled: Compiled, used: Mapping[CounterKey, int]) -> bool:
    """Whether an evaluation made before anything was counted is the same under `used`: no cap cuts it more.

    Needs: `used` for every counter that the evaluation raises.
    """
    for counter, points in evaluation.counted:
        before = used[counter]
        if before and before + points > compiled.caps[counter.rule_id]:
            return False
    return True


def no_longer(compiled: Compiled, rule_ids: Collection[str], left: Facts) -> frozenset[str]:
    """Of these rules, those that want it so and whose conditions what is left of a purchase does not fulfil."""
    basket = compiled.basket(left)
    return frozenset(
        rule.id
        for rule in compiled.rules
        if rule.rule.on_return is OnReturn.ALL_IF_UNMET
        and rule.id in rule_ids
        and not all(check.holds(basket) for check in rule.checks)
    )


def _award(
    rule: CompiledRule,
    basket: Basket,
    base: dict[str, tuple[int, ...]],
    counter: CounterKey | None,
    counters: Mapping[CounterKey, int],
    unmet: list[Unmet] | None,
) -> Award | None:
    """The award of one rule, or None and, when explaining, its first reason added to `unmet`."""
    for check in rule.checks:
        if not check.holds(basket):
            if unmet is not None:
                unmet.append(Unmet(rule.id, *check.why(basket)))
            return None

    lines, basis = basket.chosen(rule.choice)
    if not lines:
        if unmet is not None:
            unmet.append(Unmet(rule.id, "no_matching_line"))
        return None

    weights = basket.facts.basis.get(rule.points_currency, ())
    if (per_spend := rule.per_spend) is not None:
        wanted = rounded(basis, per_spend.each_minor, per_spend.rounding) * per_spend.points
        if not wanted:
            if unmet is not None:
                figures = {"basis_minor": basis, "each_minor": per_spend.each_minor}
                unmet.append(Unmet(rule.id, "below_step", figures))
            return None
    elif (multiplier := rule.multiplier) is not None:
        weights = base.get(rule.points_currency, ())
        points = sum_on(weights, lines, basket.every)
        wanted = rounded(points * (multiplier.factor_bps - 10_000), 10_000, multiplier.rounding)
        if not wanted:
            if unmet is not None:
                reason = "below_one_point" if points else "no_base_points"
                figures = {"base_points": points, "factor_bps": multiplier.factor_bps}
                unmet.append(Unmet(rule.id, reason, figures))
            return None
    else:
        assert rule.fixed is not None
        wanted = rule.fixed.points
        if not basis:  # nothing to go by: every chosen line alike
            weights = (1,) * len(basket.facts.lines)

    points, cut_by = wanted, None
    if counter is not None:
        assert rule.cap is not None
        used = counters.get(counter, 0)
        if wanted > rule.cap - used:
            points, cut_by = max(0, rule.cap - used), "member_cap"
            if not points:
                if unmet is not None:
                    figures = {"wanted": wanted, "cap": rule.cap, "used": used, "period": counter.period}
                    unmet.append(Unmet(rule.id, "member_cap", figures))
                return None
    if lines & (lines - 1):
        split = split_largest_remainder(points, only_on(weights, lines, basket.every))
    else:  # a single line
        parts = [0] * len(basket.facts.lines)
        parts[lines.bit_length() - 1] = points
        split = tuple(parts)
    return Award(rule.id, rule.points_currency, points, wanted, basis, split, cut_by)
