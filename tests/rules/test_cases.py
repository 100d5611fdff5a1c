"""Every row of cases.md: what shops ask for and what a basket then earns."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from _pytest.mark import ParameterSet

from loyalty.conditions.types import Facts, LineFacts
from loyalty.posting.files import load
from loyalty.rules.compile import compile_ruleset
from loyalty.rules.evaluate import evaluate
from loyalty.rules.types import Award, Ruleset
from loyalty.rules.validate import faults

TABLES = (Path(__file__).parent / "cases.md").read_text()
ZONE = ZoneInfo("Europe/Berlin")
CURRENCIES = ("points", "stars")
HEAD = """
[program]
kind = "live"
name = "Shop"
zone = "Europe/Berlin"
money = "EUR"
[[points_currencies]]
code = "points"
name = "points"
[[points_currencies]]
code = "stars"
name = "stars"
"""


@dataclass(frozen=True)
class Case:
    ruleset: Ruleset
    basket: str
    when: str
    also: str
    earns: str
    because: str


def cases() -> Iterator[ParameterSet]:
    for section in TABLES.split("\n## ")[1:]:
        title = section.splitlines()[0]
        toml = re.search(r"```toml\n(.*?)```", section, re.DOTALL)
        assert toml is not None, title
        _, configuration = load(HEAD + toml[1])
        rows = [line for line in section.splitlines() if line.startswith("| ") and "| Because |" not in line]
        for row in rows:
            case = Case(configuration.ruleset, *(cell.strip() for cell in row.split("|")[1:-1]))
            yield pytest.param(case, id=f"{title}: {case.basket}, {case.when} {case.also}".strip())


CASES = list(cases())


def line(text: str) -> LineFacts:
    found = re.fullmatch(r"(\S+)(?: \((.*?)\))?((?: #\S+)*) (\d+)\.(\d\d)", text)
    assert found is not None, f"not a line: {text}"
    categories = tuple(name.strip() for name in found[2].split(",")) if found[2] else ()
    tags = tuple(tag.lstrip("#") for tag in found[3].split())
    return LineFacts(found[1], categories, tags, 1_000, int(found[4]) * 100 + int(found[5]))


def facts(case: Case) -> Facts:
    lines = tuple(line(one) for one in case.basket.split("; "))
    at = datetime.strptime(case.when, "%a %Y-%m-%d %H:%M").replace(tzinfo=ZONE)
    assert f"{at:%a}" == case.when[:3], f"{case.when} is a {at:%A}"
    words = dict(re.findall(r"\b(in|at) (\S+?)(?:,|$)", case.also))
    basis = tuple(one.amount_minor for one in lines)
    return Facts(
        at.astimezone(UTC), lines, dict.fromkeys(CURRENCIES, basis), words.get("in"), words.get("at")
    )


def told(award: Award, with_split: bool) -> str:
    split = f" ({'+'.join(map(str, award.split))})" if with_split else ""
    cut = f" of {award.wanted}" if award.cut_by else ""
    return f"{award.rule_id} {award.points}{cut}{split}"


@pytest.mark.parametrize("case", CASES)
def test_a_basket_earns_what_the_table_says(case: Case) -> None:
    compiled = compile_ruleset(case.ruleset, ZONE)
    purchase = facts(case)
    used = {rule: int(points) for rule, points in re.findall(r"used (\S+) (\d+)", case.also)}
    counters = {key: used.get(key.rule_id, 0) for key in compiled.counter_keys(purchase.occurred_at)}
    found = evaluate(compiled, purchase, counters)
    earned = ", ".join(told(award, "(" in case.earns) for award in found.awards) or "nothing"
    assert earned == case.earns

    unmet = {
        reason.rule_id: reason.reason for reason in evaluate(compiled, purchase, counters, explain=True).unmet
    }
    expected = dict(part.split(" ") for part in case.because.split(", ") if part)
    assert {rule: unmet.get(rule) for rule in expected} == expected


@pytest.mark.parametrize("case", CASES)
def test_the_rules_of_the_table_could_be_published(case: Case) -> None:
    assert faults(case.ruleset, CURRENCIES, ZONE) == []


def test_the_table_has_rows_for_every_effect_condition_and_reason() -> None:
    kinds = set(re.findall(r'kind = "(\w+)"', TABLES))
    assert kinds >= {
        "per_spend", "multiplier", "fixed", "minimum_spend", "has_line", "window", "channel", "location", "any", "not"
    }  # fmt: skip
    reasons = kinds - {"per_spend", "multiplier", "fixed", "location"} | {
        "no_matching_line", "below_step", "no_base_points", "below_one_point", "member_cap"
    }  # fmt: skip
    assert all(f" {reason}" in TABLES for reason in reasons)
