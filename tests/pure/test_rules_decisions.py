"""A stored decision explains itself for ever: its awards are the truth, the other rules have their reasons."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from loyalty.conditions.types import Facts, LineFacts
from loyalty.posting.configuration import Configuration, History, Published
from loyalty.posting.detail import Detail
from loyalty.posting.explain import explain
from loyalty.programs.types import PointsCurrency, ProgramSettings
from loyalty.rules.evaluate import evaluate
from loyalty.rules.types import EVALUATOR, CapPeriod, Fixed, MemberCap, Multiplier, PerSpend, Rule, Ruleset
from tests.pure.shops import baskets, rulesets

SETTINGS = ProgramSettings(
    "Shop", "Europe/Berlin", "EUR", (PointsCurrency("points", "points"), PointsCurrency("stars", "stars"))
)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def history(*rulesets: Ruleset) -> History:
    return History(
        [Published(n, LONG_AGO, Configuration(SETTINGS, ruleset)) for n, ruleset in enumerate(rulesets, 1)]
    )


def decided(known: History, facts: Facts, used: int = 0, *, number: int = 1) -> Detail:
    """What a purchase stores, read back from its JSON."""
    compiled = known.numbered(number).compiled
    counters = dict.fromkeys(compiled.counter_keys(facts.occurred_at), used)
    found = evaluate(compiled, facts, counters)
    counted = tuple((key.rule_id, key.period, points) for key, points in found.counted)
    detail = Detail(basis=facts.basis, judged_by=number, awards=found.awards, counted=counted)
    return msgspec.json.decode(msgspec.json.encode(detail), type=Detail)


def bought(amount_minor: int) -> Facts:
    line = LineFacts("COF", ("coffee",), (), 1_000, amount_minor)
    return Facts(datetime(2026, 5, 4, 10, tzinfo=UTC), (line,), {"points": (amount_minor,)})


BASKET = Rule("basket", "for the basket", "points", PerSpend(1, 100))
COFFEE = Rule("coffee", "extra for coffee", "points", Multiplier(30_000))
VISIT = Rule("visit", "for your visit", "points", Fixed(5), member_cap=MemberCap(5, CapPeriod.DAY))
RULES = Ruleset(7, (VISIT, COFFEE, BASKET))


@settings(max_examples=100)
@given(rulesets(), baskets(), st.integers(0, 70))
def test_every_rule_of_a_stored_decision_is_explained(ruleset: Ruleset, facts: Facts, used: int) -> None:
    known = history(ruleset)
    detail = decided(known, facts, used)
    told = explain(detail, facts, known)
    assert told.agrees
    assert told.notes == ()
    assert [rule.rule_id for rule in told.rules] == [rule.id for rule in known.numbered(1).compiled.rules]
    assert tuple(rule.award for rule in told.rules if rule.award) == detail.awards
    assert all((rule.award is None) != (rule.unmet is None) for rule in told.rules)
    # The reasons are those of the day: how far the limits were used is found again from what was given.
    compiled = known.numbered(1).compiled
    counters = dict.fromkeys(compiled.counter_keys(facts.occurred_at), used)
    then = {one.rule_id: one.reason for one in evaluate(compiled, facts, counters, explain=True).unmet}
    assert {rule.rule_id: rule.unmet.reason for rule in told.rules if rule.unmet} == then


def test_an_explanation_speaks_of_points_and_reasons() -> None:
    known = history(RULES)
    told = explain(decided(known, bought(1_398), used=5), bought(1_398), known)
    assert [rule.sentence for rule in told.rules] == [
        "for the basket: 13 points, 1 for each 1.00 EUR of 13.98 EUR.",
        "extra for coffee: 26 points, the extra that makes the base points of its lines 3 times as many.",
        "for your visit: no points, because its limit of 5 a day is used up.",
    ]
    assert [rule.points for rule in told.rules] == [13, 26, 0]
    assert (told.judged_by, told.ruleset_version, told.evaluator) == (1, 7, EVALUATOR)


def test_a_purchase_is_explained_by_the_rules_that_judged_it() -> None:
    dearer = Ruleset(8, (msgspec.structs.replace(BASKET, gives=PerSpend(1, 1_000)),))
    known = history(RULES, dearer)
    assert (
        sum(rule.points for rule in explain(decided(known, bought(2_000)), bought(2_000), known).rules) == 65
    )
    assert (
        sum(
            rule.points
            for rule in explain(decided(known, bought(2_000), number=2), bought(2_000), known).rules
        )
        == 2
    )


def test_a_guest_is_told_what_a_member_would_have_got() -> None:
    known = history(RULES)
    told = explain(Detail(judged_by=1), bought(1_398), known, guest=True)
    assert told.agrees
    assert {rule.points for rule in told.rules} == {0}
    assert [rule.unmet for rule in told.rules if rule.unmet and rule.unmet.reason != "guest"] == []
    first = told.rules[0]
    assert first.unmet is not None
    assert first.unmet.detail == {"points": 13}
    assert (
        first.sentence
        == "for the basket: no points, because a guest's purchase gives none until it is claimed."
    )


def test_what_was_awarded_stands_when_judging_again_gives_something_else() -> None:
    known = history(RULES)
    detail = decided(known, bought(1_398))
    base, extra, visit = detail.awards
    other: Any = msgspec.structs.replace(detail, awards=(msgspec.structs.replace(base, points=14), visit))
    told = explain(other, bought(1_398), known, evaluator=EVALUATOR - 1)
    assert not told.agrees
    assert told.notes == (
        f"Judged by version {EVALUATOR - 1} of the evaluator, explained by version {EVALUATOR}.",
        "Judged again the rules give other awards; what was awarded then stands.",
    )
    assert [rule.points for rule in told.rules] == [14, 0, 5]
    unmet = told.rules[1].unmet
    assert unmet is not None
    assert (unmet.reason, unmet.detail) == ("judged_otherwise", {"points": extra.points})


def test_a_decision_without_rules_has_no_rules_to_explain() -> None:
    told = explain(Detail(), None, history(RULES))
    assert (told.rules, told.agrees, told.judged_by) == ((), True, None)


def test_once_the_lines_are_removed_only_what_was_awarded_is_told() -> None:
    known = history(RULES)
    detail = decided(known, bought(1_398))
    told = explain(detail, None, known)
    assert told.agrees
    assert [rule.points for rule in told.rules] == [award.points for award in detail.awards]
    assert told.notes == ("The lines of this purchase were removed; only what was awarded is told.",)
