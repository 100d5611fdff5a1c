"""Why a purchase earned what it earned: the stored awards, and the pure evaluator run again for the other rules;
and why so much of it was taken back.

The stored awards are the truth. While the purchase's lines are kept, the rules are judged again on them by the
stored configuration, and the explanation says so when another version of the evaluator does it or when it comes to
other awards. Once retention removed the lines, the awards alone are told.
"""

from msgspec import Struct

from loyalty.conditions.types import Facts
from loyalty.posting.configuration import History, Loaded
from loyalty.posting.detail import Detail
from loyalty.posting.returned import placed
from loyalty.rules.evaluate import evaluate
from loyalty.rules.explain import back_sentence, sentence
from loyalty.rules.types import EVALUATOR, Award, CounterKey, EvaluatedRule, Evaluation, Unmet


class ExplainedRule(Struct, frozen=True):
    """What one rule gave, or why it gave nothing."""

    rule_id: str
    name: str
    points_currency: str
    points: int  # below 0: taken back
    sentence: str
    award: Award | None
    unmet: Unmet | None


class Explanation(Struct, frozen=True):
    """All rules of one decision in their evaluation order; none when the decision had no rules to judge."""

    judged_by: int | None  # number of the configuration
    ruleset_version: int | None
    evaluator: int  # version that judged then
    explained_by: int  # version that judged again now
    agrees: bool  # judged again, the awards are the same
    notes: tuple[str, ...]
    rules: tuple[ExplainedRule, ...]


def explain(
    detail: Detail, facts: Facts | None, history: History, *, evaluator: int = EVALUATOR, guest: bool = False
) -> Explanation:
    """Every rule with its award or its first reason for giving nothing; without `facts` only what was awarded.

    Needs: `history` holds the configuration that judged; `evaluator` is the decision's; `guest` when the purchase
    was nobody's, so that nothing was awarded whatever the rules say.
    """
    if detail.judged_by is None:
        return Explanation(None, None, evaluator, EVALUATOR, True, (), ())
    judged_by = history.numbered(detail.judged_by)
    stored = {award.rule_id: award for award in detail.awards}
    if facts is None:
        again = Evaluation(detail.awards, (), ())
    else:
        counters = {} if guest else _counters(judged_by, detail, facts)
        again = evaluate(judged_by.compiled, facts, counters, explain=True)
    agrees = guest or placed(again.awards, detail.left) == detail.awards
    now = {award.rule_id: award for award in again.awards}
    unmet = {reason.rule_id: reason for reason in again.unmet}
    missing = "guest" if guest else "judged_otherwise"
    rules: list[ExplainedRule] = []
    for compiled in judged_by.compiled.rules:
        award = stored.get(compiled.id)
        reason = None
        if award is None and facts is None:
            continue
        if award is None:
            reason = unmet.get(compiled.id) or Unmet(
                compiled.id, missing, {"points": now[compiled.id].points}
            )
        points = judged_by.currencies[compiled.points_currency]
        said = sentence(EvaluatedRule(compiled.rule, award, reason), judged_by.settings.money, points)
        rules.append(
            ExplainedRule(
                compiled.id,
                compiled.rule.name,
                compiled.points_currency,
                award.points if award else 0,
                said,
                award,
                reason,
            )
        )
    return Explanation(
        detail.judged_by,
        judged_by.ruleset.version,
        evaluator,
        EVALUATOR,
        agrees,
        tuple(_notes(evaluator, agrees, kept=facts is not None)),
        tuple(rules),
    )


def explain_undone(
    detail: Detail, undone: Detail, history: History, *, evaluator: int = EVALUATOR
) -> Explanation:
    """What a return or cancel took back of each award, and why so much. Needs: `undone` is what it undoes."""
    if undone.judged_by is None:
        return Explanation(None, None, evaluator, EVALUATOR, True, (), ())
    judged_by = history.numbered(undone.judged_by)
    rules = {rule.id: rule.rule for rule in judged_by.compiled.rules}
    told: list[ExplainedRule] = []
    for index, (award, points) in enumerate(zip(undone.awards, detail.back, strict=False)):
        if points:
            rule, called = rules[award.rule_id], judged_by.currencies[award.points_currency]
            said = back_sentence(rule, award, points, called, unmet=index in detail.unmet)
            told.append(ExplainedRule(rule.id, rule.name, award.points_currency, -points, said, award, None))
    return Explanation(
        undone.judged_by, judged_by.ruleset.version, evaluator, EVALUATOR, True, (), tuple(told)
    )


def _counters(judged_by: Loaded, detail: Detail, facts: Facts) -> dict[CounterKey, int]:
    """Counters as the caps must have found them: what a cap left was given, and a capped rule without an award
    had nothing left. Where a rule would not have matched anyway its conditions say so before its cap is asked."""
    stored = {award.rule_id: award for award in detail.awards}
    counters: dict[CounterKey, int] = {}
    for rule in judged_by.compiled.rules:
        if rule.cap is None:
            continue
        award = stored.get(rule.id)
        given = award.points if award else 0
        if award is None or award.cut_by is not None:
            key = judged_by.compiled.counter_keys(facts.occurred_at)[rule.counter]
            counters[key] = rule.cap - given
    return counters


def _notes(evaluator: int, agrees: bool, *, kept: bool) -> list[str]:
    notes: list[str] = []
    if not kept:
        return ["The lines of this purchase were removed; only what was awarded is told."]
    if evaluator != EVALUATOR:
        notes.append(f"Judged by version {evaluator} of the evaluator, explained by version {EVALUATOR}.")
    if not agrees:
        notes.append("Judged again the rules give other awards; what was awarded then stands.")
    return notes
