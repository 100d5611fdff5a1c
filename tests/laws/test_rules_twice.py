"""The rules are written twice, here with fractions and sets: both give the same points for any basket.

A second reading of docs/rules.md; the program's own examples stand in tests/pure.
"""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from loyalty.posting.commands import RecordPurchase
from loyalty.posting.configuration import Configuration, Loaded, Published
from loyalty.posting.content import facts_of
from loyalty.posting.decide.purchase import bases
from loyalty.rules.evaluate import evaluate
from loyalty.rules.types import CounterKey
from tests.laws.judge import judge
from tests.laws.shapes import JSON, baskets, rulesets
from tests.laws.side_by_side import QUICK

CURRENCIES = [
    {"code": "points", "name": "Points"},
    {"code": "miles", "name": "Miles", "tax_earns": False, "excluded_tenders": ["gift"]},
]
# Two nights in which clocks jump, the turn of a year and any time around them.
INSTANTS = st.sampled_from(
    (
        datetime(2026, 3, 8, 5, tzinfo=UTC),
        datetime(2026, 11, 1, 4, tzinfo=UTC),
        datetime(2026, 1, 1, tzinfo=UTC),
    )
).flatmap(lambda at: st.integers(0, 600_000).map(lambda s: at + timedelta(seconds=s)))


def both(ruleset: JSON, basket: JSON, at: datetime, used: dict[tuple[str, str], int]) -> tuple[Any, Any]:
    """Points by currency and what the caps counted, from the program and from the second reading."""
    configuration: JSON = {
        "settings": {
            "name": "Shop", "zone": "America/New_York", "money": "USD", "points_currencies": CURRENCIES
        },
        "ruleset": ruleset,
    }  # fmt: skip
    loaded = Loaded(Published(1, at, msgspec.convert(configuration, Configuration)))
    told = {"source": "till", "external_id": "1", "occurred_at": at} | basket
    command = msgspec.convert(told, RecordPurchase)
    facts = facts_of(command, at, bases(command, loaded))
    found = evaluate(loaded.compiled, facts, {CounterKey(*key): points for key, points in used.items()})
    points: dict[str, int] = {}
    for award in found.awards:
        assert sum(award.split) == award.points
        points[award.points_currency] = points.get(award.points_currency, 0) + award.points
    counted = [(key.rule_id, key.period, points) for key, points in found.counted]
    return (points, counted), judge(configuration, basket | {"at": at}, used)


@settings(max_examples=150, phases=QUICK)
@given(rulesets(("points", "miles")), baskets(), INSTANTS, st.integers(0, 200))
def test_two_readings_of_the_rules_agree(ruleset: JSON, basket: JSON, at: datetime, so_far: int) -> None:
    on = at.astimezone(ZoneInfo("America/New_York")).date()
    year, week, _ = on.isocalendar()
    periods = (f"{on}", f"{year}-W{week:02}", f"{on:%Y-%m}", f"{on:%Y}", "ever")
    used = {(rule["id"], period): so_far for rule in ruleset.get("rules", []) for period in periods}
    program, second = both(ruleset, basket, at, used)
    assert program == second
