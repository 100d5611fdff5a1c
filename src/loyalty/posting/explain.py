"""Why a purchase earned what it earned: the stored awards, and the pure evaluator run again for the other rules.

The stored awards are the truth. The rules are judged again on the stored facts by the stored configuration, and
the explanation says so when another version of the evaluator does it or when it comes to other awards.
"""

from msgspec import Struct

from loyalty.posting.configuration import History, Loaded
from loyalty.posting.detail import Detail
from loyalty.rules.evaluate import evaluate
from loyalty.rules.explain import sentence
from loyalty.rules.types import EVALUATOR, Award, CounterKey, EvaluatedRule, Unmet


class ExplainedRule(Struct, frozen=True):
    """What one rule gave, or why it gave nothing."""

    rule_id: str
    name: str
    points_currency: str
    points: int
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
    detail: Detail, history: History, *, evaluator: int = EVALUATOR, guest: bool = False
) -> Explanation:
    """Every rule with its award or its first reason for giving nothing.

    Needs: `history` holds the configuration that judged; `evaluator` is the decision's; `guest` when the purchase
    was nobody's, so that nothing was awarded whatever the rules say.
    """
    if detail.facts is None or detail.judged_by is None:
        return Explanation(None, None, evaluator, EVALUATOR, True, (), ())
    judged_by = history.numbered(detail.judged_by)
    stored = {award.rule_id: award for award in detail.awards}
    again = evaluate(
        judged_by.compiled, detail.facts, {} if guest else _counters(judged_by, detail), explain=True
    )
    agrees = guest or again.awards == detail.awards
    now = {award.rule_id: award for award in again.awards}
    unmet = {reason.rule_id: reason for reason in again.unmet}
    missing = "guest" if guest else "judged_otherwise"
    rules: list[ExplainedRule] = []
    for compiled in judged_by.compiled.rules:
        award = stored.get(compiled.id)
        reason = None
        if award is None:
            reason = unmet.get(compiled.id) or Unmet(
                compiled.id, missing, {"points": now[compiled.id].points}
            )
        points_name = judged_by.currencies[compiled.points_currency].name
        said = sentence(EvaluatedRule(compiled.rule, award, reason), judged_by.settings.money, points_name)
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
        tuple(_notes(evaluator, agrees)),
        tuple(rules),
    )


def _counters(judged_by: Loaded, detail: Detail) -> dict[CounterKey, int]:
    """Counters as the caps must have found them: what a cap left was given, and a capped rule without an award
    had nothing left. Where a rule would not have matched anyway its conditions say so before its cap is asked."""
    assert detail.facts is not None
    stored = {award.rule_id: award for award in detail.awards}
    counters: dict[CounterKey, int] = {}
    for rule in judged_by.compiled.rules:
        if rule.cap is None:
            continue
        award = stored.get(rule.id)
        given = award.points if award else 0
        if award is None or award.cut_by is not None:
            key = judged_by.compiled.counter_keys(detail.facts.occurred_at)[rule.counter]
            counters[key] = rule.cap - given
    return counters


def _notes(evaluator: int, agrees: bool) -> list[str]:
    notes: list[str] = []
    if evaluator != EVALUATOR:
        notes.append(f"Judged by version {evaluator} of the evaluator, explained by version {EVALUATOR}.")
    if not agrees:
        notes.append("Judged again the rules give other awards; what was awarded then stands.")
    return notes
