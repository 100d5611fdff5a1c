"""A ruleset that contradicts itself is told so before anyone lives by it, all faults at once."""

import re
from datetime import date, time
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings

from loyalty.conditions.types import (
    AllOf,
    AnyOf,
    AtLocation,
    Condition,
    Facts,
    HasLine,
    InChannel,
    Lines,
    MinimumSpend,
    Not,
    Window,
)
from loyalty.rules.compile import compile_ruleset
from loyalty.rules.evaluate import evaluate
from loyalty.rules.types import Effect, Fixed, Multiplier, PerSpend, Rule, Ruleset
from loyalty.rules.validate import faults
from tests.pure.shops import CURRENCIES, baskets, rulesets

ROOT = Path(__file__).parents[2]
BERLIN = ZoneInfo("Europe/Berlin")
WEB = InChannel(("web",))


def rule(
    name: str = "basket",
    *,
    gives: Effect | None = None,
    when: Condition | None = None,
    called: str = "for you",
) -> Rule:
    return Rule(name, called, "points", gives or PerSpend(1, 100), when)


def found(*rules: Rule, excluded: Lines | None = None) -> list[tuple[str, str]]:
    ruleset = Ruleset(rules=rules, excluded=excluded)
    return [(fault.pointer, fault.code) for fault in faults(ruleset, ("points",), BERLIN)]


def nested(depth: int) -> Condition:
    condition: Condition = WEB
    for _ in range(depth - 1):
        condition = Not(condition)
    return condition


FUEL = Lines(categories=("fuel",))


@pytest.mark.parametrize(
    ("when", "faults_found"),
    [
        (WEB, []),
        (Window(weekdays=(6, 7)), []),
        (Window(from_on=date(2026, 5, 4), to_on=date(2026, 5, 4)), []),
        (Window(from_time=time(22), to_time=time(2)), []),
        (nested(5), []),
        (nested(6), [("/rules/0/when", "too_deep")]),
        (AnyOf((WEB,) * 99), []),
        (AnyOf((WEB,) * 100), [("/rules/0/when", "too_many_conditions")]),
        (InChannel(()), [("/rules/0/when/any_of", "empty_list")]),
        (AtLocation(()), [("/rules/0/when/any_of", "empty_list")]),
        (AllOf(()), [("/rules/0/when/of", "empty_list")]),
        (AnyOf((WEB, Not(AllOf(())))), [("/rules/0/when/of/1/of/of", "empty_list")]),
        (Window(), [("/rules/0/when", "empty_window")]),
        (Window(from_time=time(9), to_time=time(9)), [("/rules/0/when/to_time", "empty_window")]),
        (
            Window(from_on=date(2026, 5, 5), to_on=date(2026, 5, 4)),
            [("/rules/0/when/to_on", "window_backwards")],
        ),
        (  # Monday and Tuesday, but never on a Sunday
            Window(from_on=date(2026, 5, 4), to_on=date(2026, 5, 5), weekdays=(7,)),
            [("/rules/0/when/weekdays", "never_matches")],
        ),
        (Window(from_on=date(2026, 5, 4), to_on=date(2026, 5, 10), weekdays=(7,)), []),
        (
            HasLine(Lines(skus=("A",), not_skus=("A", "B"))),
            [("/rules/0/when/lines", "never_matches")],
        ),
        (HasLine(FUEL), []),  # excluded lines are in the basket all the same
        (MinimumSpend(100, FUEL), [("/rules/0/when/lines", "never_matches")]),
        (AllOf((WEB, InChannel(("pos",)))), [("/rules/0/when", "never_matches")]),
        (AllOf((WEB, AllOf((InChannel(("pos", "web")),)))), []),
        (AllOf((AtLocation(("a",)), AtLocation(("b",)))), [("/rules/0/when", "never_matches")]),
        (AnyOf((WEB, InChannel(("pos",)))), []),
        (AllOf((WEB, Not(WEB))), [("/rules/0/when", "never_matches")]),
        (
            AllOf((Window(to_on=date(2026, 5, 4)), Window(from_on=date(2026, 5, 5)))),
            [("/rules/0/when", "never_matches")],
        ),
        (
            AllOf((Window(weekdays=(1, 2)), Window(weekdays=(3,)))),
            [("/rules/0/when", "never_matches")],
        ),
        (  # Tuesday night after Monday evening is both
            AllOf((Window(weekdays=(1,), from_time=time(22), to_time=time(2)), Window(weekdays=(2,)))),
            [],
        ),
    ],
)
def test_a_contradiction_in_conditions_is_found(when: Condition, faults_found: list[tuple[str, str]]) -> None:
    assert found(rule(when=when), excluded=FUEL) == faults_found


def test_rules_are_told_apart_by_their_ids() -> None:
    assert found(rule("a"), rule("b"), rule("a"), rule("a")) == [
        ("/rules/2/id", "duplicate_rule_id"),
        ("/rules/3/id", "duplicate_rule_id"),
    ]


def test_points_must_be_the_programs_and_have_a_base_to_multiply() -> None:
    stars = Rule("stars", "stars", "stars", Multiplier(20_000))
    double = rule("double", gives=Multiplier(20_000))
    assert found(stars, double) == [
        ("/rules/0/points_currency", "unknown_points_currency"),
        ("/rules/1/gives", "multiplier_without_base"),
    ]
    assert found(double, rule()) == []


def test_a_rule_whose_lines_are_all_excluded_never_matches() -> None:
    never = [("/rules/0/gives/lines", "never_matches")]
    assert found(rule(gives=Fixed(5, FUEL)), excluded=FUEL) == never
    assert found(rule(gives=Fixed(5, Lines(categories=("fuel", "coffee")))), excluded=FUEL) == []
    assert found(rule(gives=Fixed(5, Lines(skus=("fuel",)))), excluded=FUEL) == []
    spared = Lines(categories=("fuel",), not_tags=("bio",))
    assert found(rule(gives=Fixed(5, FUEL)), excluded=spared) == []
    assert found(rule(gives=Fixed(5, Lines(tags=("x",), not_tags=("x",))))) == never
    assert found(rule(), excluded=Lines()) == [("/excluded", "excludes_everything")]


@pytest.mark.parametrize("name", ["\u202efor you", "a\tb", " ", "for\nyou", "\u200b"])
def test_a_name_that_a_receipt_cannot_print_is_refused(name: str) -> None:
    assert found(rule(called=name)) == [("/rules/0/name", "unprintable_name")]


def test_all_faults_are_told_at_once() -> None:
    both = rule("double", gives=Multiplier(20_000), when=AllOf((InChannel(()), Window())), called=" ")
    assert [code for _, code in found(both)] == [
        "unprintable_name",
        "multiplier_without_base",
        "empty_list",
        "empty_window",
    ]


@settings(max_examples=100)
@given(rulesets(), baskets())
def test_a_rule_said_never_to_match_never_does(ruleset: Ruleset, facts: Facts) -> None:
    awards = evaluate(compile_ruleset(ruleset, BERLIN), facts, {}).awards
    never = {"never_matches", "window_backwards", "empty_list"}
    for fault in faults(ruleset, CURRENCIES, BERLIN):
        at = fault.pointer.split("/")
        # A fault deep inside an alternative does not stop the rule as a whole.
        if fault.code in never and at[1] == "rules" and at[3:] in (["when"], ["gives", "lines"]):
            assert ruleset.rules[int(at[2])].id not in {award.rule_id for award in awards}
        if fault.code == "excludes_everything":
            assert awards == ()


def test_every_fault_is_documented() -> None:
    documented = (ROOT / "docs" / "rules.md").read_text().split("## Faults")[1].split("## Files")[0]
    codes: list[str] = []
    for room in ("rules", "conditions"):
        source = (ROOT / "src" / "loyalty" / room / "validate.py").read_text()
        codes += re.findall(r'Fault\(\s*(?:at|f?"[^"]*"),\s*"(\w+)"', source)
    assert sorted(set(codes)) == sorted(re.findall(r"^\| `(\w+)`", documented, re.MULTILINE))
