"""Laws of judging: nothing is lost, nothing is given twice, and the index changes nothing."""

from datetime import UTC, datetime
from random import Random
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loyalty.conditions.types import Facts, InChannel, LineFacts, Lines
from loyalty.rules.compile import compile_ruleset
from loyalty.rules.evaluate import evaluate
from loyalty.rules.types import (
    CapPeriod,
    CounterKey,
    Evaluation,
    Fixed,
    MemberCap,
    Multiplier,
    PerSpend,
    Rule,
    Ruleset,
)
from tests.pure.shops import baskets, rulesets

BERLIN = ZoneInfo("Europe/Berlin")
BASE = Rule("basket", "for the basket", "points", PerSpend(1, 100))
USED = st.integers(0, 70)


def judged(ruleset: Ruleset, facts: Facts, used: int = 0, *, explain: bool = False) -> Evaluation:
    compiled = compile_ruleset(ruleset, BERLIN)
    counters = dict.fromkeys(compiled.counter_keys(facts.occurred_at), used)
    return evaluate(compiled, facts, counters, explain=explain)


def bought(*amounts: int, channel: str | None = None) -> Facts:
    lines = tuple(LineFacts(f"S{i}", (), (), 1_000, amount) for i, amount in enumerate(amounts))
    return Facts(datetime(2026, 5, 4, 10, tzinfo=UTC), lines, {"points": amounts}, channel)


@settings(max_examples=150)
@given(rulesets(), baskets(), USED)
def test_the_index_leaves_out_only_rules_that_give_nothing(ruleset: Ruleset, facts: Facts, used: int) -> None:
    quick, thorough = judged(ruleset, facts, used), judged(ruleset, facts, used, explain=True)
    assert quick.awards == thorough.awards
    assert quick.counted == thorough.counted
    assert quick.unmet == ()


@settings(max_examples=150)
@given(rulesets(), baskets())
def test_no_more_rules_may_match_than_the_names_of_the_lines_reach(ruleset: Ruleset, facts: Facts) -> None:
    compiled = compile_ruleset(ruleset, BERLIN)
    names = sum(1 + len(line.categories) + len(line.tags) for line in facts.lines)
    assert compiled.candidates(compiled.basket(facts)).bit_count() <= compiled.reach(names)


def test_of_many_rules_for_a_line_each_a_short_basket_reaches_a_few() -> None:
    each = [
        Rule(f"r{n}", "for one", "points", PerSpend(1, 100, lines=Lines(skus=(f"S{n}",)))) for n in range(300)
    ]
    assert compile_ruleset(Ruleset(rules=tuple(each)), BERLIN).reach(5) == 5
    assert compile_ruleset(Ruleset(rules=(*each, BASE)), BERLIN).reach(400) == 301


@settings(max_examples=60)
@given(rulesets(), baskets(), USED)
def test_every_rule_is_either_awarded_or_has_its_reason(ruleset: Ruleset, facts: Facts, used: int) -> None:
    found = judged(ruleset, facts, used, explain=True)
    told = [one.rule_id for one in (*found.awards, *found.unmet)]
    assert sorted(told) == sorted(rule.id for rule in ruleset.rules)
    msgspec.json.encode(found)  # figures are plain


@settings(max_examples=60)
@given(rulesets(), baskets(), USED)
def test_an_award_is_split_without_loss_on_its_own_lines(ruleset: Ruleset, facts: Facts, used: int) -> None:
    rules = {rule.id: rule for rule in ruleset.rules}
    for award in judged(ruleset, facts, used).awards:
        assert 0 < award.points <= award.wanted
        assert sum(award.split) == award.points
        assert len(award.split) == len(facts.lines)
        assert all(part >= 0 for part in award.split)
        assert award.points_currency == rules[award.rule_id].points_currency
        assert (award.cut_by == "member_cap") == (award.points < award.wanted)


@settings(max_examples=60)
@given(rulesets(), st.lists(baskets(), min_size=1, max_size=4))
def test_a_limit_is_never_exceeded_however_often_one_buys(ruleset: Ruleset, visits: list[Facts]) -> None:
    compiled = compile_ruleset(ruleset, BERLIN)
    caps = {rule.id: rule.member_cap.points for rule in ruleset.rules if rule.member_cap}
    counters: dict[CounterKey, int] = {}
    for facts in visits:
        found = evaluate(compiled, facts, counters)
        known = compiled.counter_keys(facts.occurred_at)
        given = {award.rule_id: award.points for award in found.awards}
        for key, points in found.counted:
            assert key in known
            assert points == given[key.rule_id]
            counters[key] = counters.get(key, 0) + points
            assert counters[key] <= caps[key.rule_id]
        assert {key.rule_id for key, _ in found.counted} == given.keys() & caps.keys()


@settings(max_examples=60)
@given(rulesets(), baskets(), USED, st.randoms(use_true_random=False))
def test_two_evaluations_never_differ(ruleset: Ruleset, facts: Facts, used: int, random: Random) -> None:
    shuffled = list(ruleset.rules)
    random.shuffle(shuffled)
    stored = msgspec.json.decode(
        msgspec.json.encode(msgspec.structs.replace(ruleset, rules=tuple(shuffled))), type=Ruleset
    )
    assert judged(ruleset, facts, used, explain=True) == judged(stored, facts, used, explain=True)


def test_rules_are_judged_base_first_then_by_priority_then_by_id() -> None:
    rules = (
        Rule("z-fixed", "z", "points", Fixed(1), priority=9),
        Rule("b-more", "b", "points", Multiplier(20_000), priority=1),
        Rule("a-more", "a", "points", Multiplier(20_000)),
        Rule("c-more", "c", "points", Multiplier(20_000), priority=1),
        Rule("late", "late", "points", PerSpend(1, 100), priority=-5),
        BASE,
    )
    awards = judged(Ruleset(rules=rules), bought(1_000)).awards
    assert [award.rule_id for award in awards] == ["basket", "late", "b-more", "c-more", "a-more", "z-fixed"]
    assert [award.points for award in awards] == [10, 10, 20, 20, 20, 1]


def test_a_cap_on_base_points_leaves_fewer_to_multiply() -> None:
    capped = msgspec.structs.replace(BASE, member_cap=MemberCap(6, CapPeriod.EVER))
    first = Lines(skus=("S0",))
    double = Rule("double", "double the first", "points", Multiplier(20_000, lines=first))
    base, extra = judged(Ruleset(rules=(capped, double)), bought(500, 500)).awards
    assert (base.wanted, base.points, base.split) == (10, 6, (3, 3))
    assert (extra.points, extra.split) == (3, (3, 0))


@pytest.mark.parametrize(
    ("period", "name"),
    [
        (CapPeriod.DAY, "2026-12-31"),
        (CapPeriod.WEEK, "2026-W53"),
        (CapPeriod.MONTH, "2026-12"),
        (CapPeriod.YEAR, "2026"),
        (CapPeriod.EVER, "ever"),
    ],
)
def test_a_limit_counts_in_the_period_on_the_shops_calendar(period: CapPeriod, name: str) -> None:
    rule = msgspec.structs.replace(BASE, member_cap=MemberCap(6, period))
    compiled = compile_ruleset(Ruleset(rules=(rule,)), BERLIN)
    silvester = datetime(2026, 12, 31, 22, 59, tzinfo=UTC)
    assert compiled.counter_keys(silvester) == (CounterKey("basket", name),)
    new_year = compiled.counter_keys(datetime(2026, 12, 31, 23, 0, tzinfo=UTC))
    assert (new_year == (CounterKey("basket", name),)) == (period in (CapPeriod.WEEK, CapPeriod.EVER))


def test_a_rule_asked_for_in_a_channel_nobody_can_use_is_still_explained() -> None:
    nowhere = Rule("nowhere", "nowhere", "points", Fixed(5), InChannel(()))
    found = judged(Ruleset(rules=(nowhere,)), bought(100, channel="web"), explain=True)
    assert [reason.reason for reason in found.unmet] == ["channel"]


def test_a_points_currency_without_basis_earns_by_fixed_rules_only() -> None:
    stars = (
        Rule("star", "star", "stars", PerSpend(1, 100)),
        Rule("more", "more", "stars", Multiplier(20_000)),
        Rule("gift", "gift", "stars", Fixed(3)),
    )
    (award,) = judged(Ruleset(rules=stars), bought(500, 500)).awards
    assert (award.rule_id, award.split) == ("gift", (2, 1))


def test_figures_stay_exact_at_the_largest_amounts() -> None:
    most = 2**53 - 1
    (award,) = judged(Ruleset(rules=(BASE,)), bought(most, most)).awards
    assert award.points == 2 * most // 100
    assert sum(award.split) == award.points
