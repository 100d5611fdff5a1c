"""Tiers of real households: told in time or all at once, in any order, they are what the raw data says."""

import random
from collections import Counter
from datetime import date, datetime, timedelta

import pytest

from loyalty.base.calendar import midnight
from loyalty.tiers.review import begin, effective, qualify, review
from loyalty.tiers.types import Calendar, CalendarUnit, Day, Spend, Tier, TierSet
from tests.oracles import journey

pytestmark = pytest.mark.realdata

LADDER = TierSet(
    "status",
    "Status",
    Spend(),
    Calendar(CalendarUnit.QUARTER),
    (
        Tier("base", "Base", 0),
        Tier("silver", "Silver", 25_000),
        Tier("gold", "Gold", 60_000),
        Tier("platinum", "Platinum", 120_000),
    ),
)
FIRST, LAST = date(2017, 1, 1), date(2017, 12, 31)
END = midnight(LAST + timedelta(days=1), journey.ZONE) - timedelta(microseconds=1)
SLICES = pytest.mark.parametrize(
    "households", ["household_id % 60 = 0", pytest.param("household_id % 4 = 0", marks=pytest.mark.proof)]
)


def tier_of(bought: list[journey.Basket], told_at: datetime | None) -> str | None:
    """The tier at the end of the year, purchases told when they happened, or all at one instant behind them."""
    standing, _ = begin(LADDER, midnight(FIRST, journey.ZONE), journey.ZONE)
    days: dict[date, Day] = {}
    for basket in bought:
        now = told_at or basket.at
        known = tuple(days.values())
        standing, _ = review(LADDER, standing, known, now, journey.ZONE)
        day = days.get(basket.on, Day(basket.on))
        days[basket.on] = Day(basket.on, day.spend_minor + basket.cents, day.visits + 1)
        known = tuple(days.values())
        standing, _ = qualify(LADDER, standing, known, now, journey.ZONE, occurred_on=basket.on)
    standing, _ = review(LADDER, standing, tuple(days.values()), END, journey.ZONE)
    return effective(LADDER, standing)


@SLICES
def test_households_stand_where_the_raw_data_puts_them(households: str) -> None:
    found = journey.baskets(households)
    expected = journey.tiers(found, LAST)
    by_household: dict[int, list[journey.Basket]] = {}
    for basket in found:
        by_household.setdefault(basket.household, []).append(basket)
    chance = random.Random(20261129)
    for household, bought in by_household.items():
        assert tier_of(bought, None) == expected[household], household
        assert tier_of(chance.sample(bought, len(bought)), END) == expected[household], household
    assert set(Counter(expected.values())) == {"base", "silver", "gold", "platinum"}
