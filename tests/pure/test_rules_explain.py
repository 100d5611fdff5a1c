"""Words that a cashier, a member and a manager read."""

import re
from pathlib import Path

import msgspec
import pytest

from loyalty.posting.answers import Balance
from loyalty.programs.types import PointsCurrency
from loyalty.rules.compile import compile_ruleset
from loyalty.rules.explain import (
    RECEIPT_COLUMNS,
    back_sentence,
    because,
    narrow,
    plain,
    receipt_lines,
    sentence,
)
from loyalty.rules.types import (
    Award,
    CapPeriod,
    EvaluatedRule,
    Fixed,
    MemberCap,
    Multiplier,
    PerSpend,
    Rule,
    Ruleset,
    Unmet,
)
from tests.pure.test_rules_evaluate import BERLIN

BASKET = Rule("basket", "for the basket", "points", PerSpend(1, 100))
COFFEE = Rule(
    "coffee", "extra for coffee", "points", Multiplier(30_000), member_cap=MemberCap(20, CapPeriod.MONTH)
)
VISIT = Rule("visit", "für Ihren Besuch", "stars", Fixed(2))
COMPILED = compile_ruleset(Ruleset(rules=(BASKET, COFFEE, VISIT)), BERLIN)
NAMES = {"points": PointsCurrency("points", "points"), "stars": PointsCurrency("stars", "Sterne")}


def award(rule: Rule, points: int, wanted: int | None = None) -> Award:
    due = points if wanted is None else wanted
    cut_by = None if due == points else "member_cap"
    return Award(rule.id, rule.points_currency, points, due, 1398, (points,), cut_by)


def balance(available: int, points_currency: str = "points") -> Balance:
    return Balance(points_currency, available, 0, 0, 0)


def test_a_receipt_says_how_many_points_and_what_for() -> None:
    lines = receipt_lines(COMPILED, (award(BASKET, 13), award(COFFEE, 28)), {}, {}, (balance(1_041),), NAMES)
    assert lines == ("41 points: 13 for the basket, 28 extra for coffee", "Balance 1,041")


def test_a_receipt_says_when_a_limit_cut_the_points() -> None:
    lines = receipt_lines(COMPILED, (award(COFFEE, 8, 28),), {}, {}, (balance(8),), NAMES)
    assert lines[0] == "8 points: 8 extra for coffee (limit reached)"


def test_a_receipt_keeps_kinds_of_points_apart() -> None:
    both = (award(BASKET, 13), award(VISIT, 2))
    lines = receipt_lines(
        COMPILED, both, {}, {}, (balance(1_013), balance(2, "stars"), balance(5, "old")), NAMES
    )
    assert lines == (
        "13 points: 13 for the basket",
        "2 Sterne: 2 für Ihren Besuch",
        "Balance 1,013 points",
        "Balance 2 Sterne",
        "Balance 5 old",
    )


def test_a_receipt_speaks_of_one_point() -> None:
    assert (
        receipt_lines(COMPILED, (award(BASKET, 1),), {}, {}, (balance(1),), NAMES)[0]
        == "1 point: 1 for the basket"
    )


def test_one_of_them_is_called_by_its_own_name() -> None:
    names = NAMES | {"stars": PointsCurrency("stars", "Sterne", "Stern")}
    after = (balance(1), balance(1, "stars"))
    lines = receipt_lines(COMPILED, (award(VISIT, 1),), {"stars": 1}, {"stars": 1}, after, names)
    assert lines == (
        "1 Stern: 1 für Ihren Besuch",
        "1 Stern paid what was owed",
        "1 Stern had expired",
        "Balance 1 point",
        "Balance 1 Stern",
    )
    one = award(VISIT, 1)
    assert sentence(EvaluatedRule(VISIT, one, None), "EUR", names["stars"]).startswith(
        "für Ihren Besuch: 1 Stern,"
    )
    assert back_sentence(VISIT, one, 1, names["stars"], unmet=False) == (
        "für Ihren Besuch: 1 of 1 Stern taken back."
    )
    assert names["stars"].counted(2) == "2 Sterne"


def test_a_receipt_says_what_is_still_to_come() -> None:
    after = Balance("points", 30, 1_200, 0, 0)
    assert (
        receipt_lines(COMPILED, (award(BASKET, 13),), {}, {}, (after,), NAMES)[-1]
        == "Balance 30, 1,200 pending"
    )


def test_a_receipt_without_points_says_so_to_a_member_and_nothing_to_a_guest() -> None:
    assert receipt_lines(COMPILED, (), {}, {}, (balance(7),), NAMES) == (
        "No points for this purchase",
        "Balance 7",
    )
    assert receipt_lines(COMPILED, (), {}, {}, (), NAMES) == ()


def test_a_narrow_printer_gets_short_lines_of_plain_letters() -> None:
    wide = ("41 points: 13 for the basket, 28 extra für Kaffee „groß“ – heute", "x" * 100)
    lines = narrow(wide)
    assert lines[:2] == ("41 points: 13 for the basket, 28 extra fur", '  Kaffee "gross" - heute')
    assert all(len(line) <= RECEIPT_COLUMNS and line.isascii() and line.isprintable() for line in lines)
    assert "".join(lines[2:]).replace(" ", "") == "x" * 100
    assert plain("Łódź 5 € – Smørrebrød 茶") == "Lodz 5 EUR - Smorrebrod ?"


@pytest.mark.parametrize(
    ("rule", "given", "said"),
    [
        (
            BASKET,
            award(BASKET, 13),
            "for the basket: 13 points, 1 for each 1.00 EUR of 13.98 EUR.",
        ),
        (
            COFFEE,
            award(COFFEE, 8, 28),
            "extra for coffee: 8 points, the extra that makes the base points of its lines 3 times as many."
            " 28 were due; its limit of 20 a month left 8.",
        ),
        (VISIT, award(VISIT, 2), "für Ihren Besuch: 2 points, a fixed bonus."),
    ],
)
def test_an_award_is_explained_in_a_sentence(rule: Rule, given: Award, said: str) -> None:
    assert sentence(EvaluatedRule(rule, given, None), "EUR", NAMES["points"]) == said


def test_a_factor_is_written_as_people_write_it() -> None:
    for bps, times in ((15_000, "1.5"), (20_000, "2"), (100_000, "10"), (12_345, "1.2345")):
        rule = msgspec.structs.replace(COFFEE, gives=Multiplier(bps))
        assert f"lines {times} times" in sentence(
            EvaluatedRule(rule, award(rule, 1), None), "EUR", NAMES["points"]
        )


REASONS = {
    "minimum_spend": ({"amount_minor": 500, "basis_minor": 398},
        "3.98 EUR may earn on the lines it looks at and 5.00 EUR is needed"),
    "has_line": ({}, "the basket lacks a line that it asks for"),
    "window": ({"part": "weekdays", "local": "2026-05-04T17:31"},
        "it is for other weekdays (local time 2026-05-04 17:31)"),
    "channel": ({"channel": "pos"}, "it is not for channel pos"),
    "location": ({"location": None}, "the purchase names no location"),
    "any": ({"of": [{"reason": "has_line"}, {"reason": "channel", "channel": "pos"}]},
        "none of its alternatives holds: the basket lacks a line that it asks for; it is not for channel pos"),
    "not": ({"of": "window"}, "its condition on the time must not hold, and does"),
    "no_matching_line": ({}, "no line that may earn is one of its lines"),
    "below_step": ({"basis_minor": 99, "each_minor": 100}, "0.99 EUR may earn on its lines and a step is 1.00 EUR"),
    "no_base_points": ({"base_points": 0, "factor_bps": 20_000}, "its lines have no base points to multiply"),
    "below_one_point": ({"base_points": 1, "factor_bps": 15_000}, "the extra on 1 base points is less than one"),
    "member_cap": ({"wanted": 28, "cap": 20, "used": 20, "period": "2026-05"}, "its limit of 20 a month is used up"),
    "guest": ({"points": 28}, "a guest's purchase gives none until it is claimed"),
    "judged_otherwise": ({"points": 28}, "it gave none when the purchase was judged, though judged again it would"),
}  # fmt: skip


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_has_its_words(reason: str) -> None:
    figures, words = REASONS[reason]
    assert because(reason, figures, COFFEE, "EUR") == words
    unmet = EvaluatedRule(COFFEE, None, Unmet("coffee", reason, figures))
    assert sentence(unmet, "EUR", NAMES["points"]) == f"extra for coffee: no points, because {words}."


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("from_on", "its days had not begun yet"),
        ("to_on", "its days had ended"),
        ("weekdays", "it is for other weekdays"),
        ("from_time", "its hours begin later in the day"),
        ("to_time", "its hours end earlier in the day"),
    ],
)
def test_a_window_says_which_part_of_it_does_not_hold(part: str, words: str) -> None:
    told = because("window", {"part": part, "local": "2026-05-04T17:31"}, COFFEE, "EUR")
    assert told == f"{words} (local time 2026-05-04 17:31)"


def test_the_words_are_those_of_the_documentation() -> None:
    documented = (Path(__file__).parents[2] / "docs" / "rules.md").read_text()
    table = documented.split("## Explanations")[1].split("## Faults")[0]
    named = [
        word
        for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
        for word in re.findall(r"`(\w+)`", row)
    ]
    assert sorted(named) == sorted(REASONS)
