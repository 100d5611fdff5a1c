"""The roll-forward: every movement in its month and column, closings that are the balances of then, sweep or none."""

import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio

from loyalty.base.calendar import RoundUp, midnight, period_end
from loyalty.base.database import reading
from loyalty.jobs.due import settle_due
from loyalty.ledger.rollforward import COLUMNS, Period, RollForward
from loyalty.ledger.service import Owner, balances
from loyalty.members.cells import cell_of
from loyalty.posting.commands import Approve, WriteOff
from loyalty.posting.runtime import Runtime
from loyalty.posting.service import roll_forward
from loyalty.programs.types import PayPolicy, PointsCurrency, Rolling, Transfers
from tests.conftest import Database, fresh_database
from tests.posting.live import LiveShop, StandingClock, open_shop, serving, superuser
from tests.posting.shop import (
    ANN,
    BOB,
    MAX,
    SUE,
    adjust,
    cancel,
    cancel_redemption,
    capture,
    card,
    give,
    give_back,
    hold,
    imported,
    line,
    pay,
    purchase,
    release,
)

BERLIN = ZoneInfo("Europe/Berlin")
JANUARY = datetime(2026, 1, 10, 12, tzinfo=UTC)
INSTANT = timedelta(microseconds=1)
STAFF: dict[str, Any] = {"kind": "staff"}


@pytest_asyncio.fixture
async def clock() -> StandingClock:
    return StandingClock(JANUARY)


@pytest.fixture(scope="module", params=[1, 8], ids=["one lane", "eight lanes"])
def lanes(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.fixture(scope="module")
def database(servers: object, lanes: int) -> Iterator[Database]:
    with fresh_database() as database:
        yield database


@pytest_asyncio.fixture
async def runtime(database: Database, clock: StandingClock, lanes: int) -> AsyncIterator[Runtime]:
    async with serving(database, clock, cells=lanes) as runtime:
        yield runtime


async def opened(runtime: Runtime) -> LiveShop:
    policies = {
        "returned_days": 7,
        "late_days_max": 365,
        "transfers": Transfers(enabled=True),
    }
    return await open_shop(
        runtime,
        members=(ANN, BOB),
        policies=policies,
        expiry=Rolling(days=30),
        pay=PayPolicy(1, 1),
        currencies=(PointsCurrency("stars", "stars"),),
    )


async def a_winter(shop: LiveShop, clock: StandingClock) -> None:
    """Every kind of movement, from January to April; nobody sweeps."""
    await shop.done(
        imported(100, at=JANUARY, expires_at=datetime(2026, 2, 5, 12, tzinfo=UTC)),
        purchase("R-1", 5_000, at=JANUARY),
        adjust(30),
        adjust(-20),
        give(10),
    )
    paid = await shop.done(pay(40))
    clock.at = datetime(2026, 2, 20, 12, tzinfo=UTC)
    # By now all is over; what comes back is good for another week. Then a purchase of January comes late.
    await shop.done(
        cancel_redemption(paid),
        purchase("R-2", 6_000, at=datetime(2026, 1, 20, 12, tzinfo=UTC)),
        purchase("R-3", 2_500, at=clock.at),
        pay(45),
        cancel("R-3"),
    )
    clock.at = datetime(2026, 3, 10, 12, tzinfo=UTC)
    await shop.done(adjust(12), purchase("R-4", 1_000, at=clock.at))
    placed = await shop.done(hold(4))
    await shop.done(capture(placed["id"]), hold(3, minutes=60))
    await shop.done(purchase("R-5", 800, of=BOB, at=clock.at), adjust(-8, of=BOB), cancel("R-5"))
    asked = await shop.send(WriteOff(card(BOB), "points"), by=SUE, **STAFF)
    assert (await shop.send(Approve(UUID(asked["id"])), by=MAX, **STAFF)).status in (200, 201)
    clock.at = datetime(2026, 4, 30, 12, tzinfo=UTC)


def told(one: Period) -> dict[str, int]:
    """What is not 0."""
    return {name: getattr(one, name) for name in (*COLUMNS, "closing", "owed") if getattr(one, name)}


async def then(runtime: Runtime, shop: LiveShop, at: datetime) -> Counter[str]:
    """What all members had at an instant, less what they owed, as reads say it: by points currency."""
    history = await runtime.history(shop.id)
    total, sums = runtime.settings.cells, Counter[str]()
    async with reading(runtime.engine, shop.id) as connection:
        rows = await connection.exec_driver_sql(
            "SELECT id FROM members WHERE program_id = $1", (str(shop.id),)
        )
        for (id,) in rows.all():
            found = await balances(
                connection,
                runtime.aside,
                Owner(shop.id, cell_of(id, total), id),
                history.now.currencies.values(),
                BERLIN,
                await runtime.now(shop.id),
                as_of=at,
            )
            for one in found.balances:
                sums[one.points_currency] += one.available + one.pending + one.held - one.debt
    return sums


async def holds(runtime: Runtime, shop: LiveShop, rolled: RollForward, by: RoundUp) -> None:
    """Every period adds up, opens with what the one before closed with, and closes with the balances of then."""
    assert rolled.differences() == []
    closing: dict[str, int] = {}
    now = await runtime.now(shop.id)
    for one in rolled.periods:
        assert one.opening == closing.get(one.points_currency, 0)
        closing[one.points_currency] = one.closing
        first = datetime.fromisoformat(one.period if by is RoundUp.DAY else f"{one.period}-01").date()
        end = midnight(period_end(first, by) + timedelta(days=1), BERLIN) - INSTANT
        assert (await then(runtime, shop, min(end, now)))[one.points_currency] == one.closing, one


async def test_every_movement_stands_in_its_month_and_column(runtime: Runtime, clock: StandingClock) -> None:
    shop = await opened(runtime)
    await a_winter(shop, clock)
    rolled = await roll_forward(runtime, shop.id, RoundUp.MONTH)
    assert [(one.points_currency, one.period) for one in rolled.periods] == [
        ("points", f"2026-0{month}") for month in (1, 2, 3, 4)
    ]
    january, february, march, april = map(told, rolled.periods)
    assert january == {
        "earned": 110,
        "imported": 100,
        "adjusted": 10,
        "transferred_in": 10,
        "transferred_out": 10,
        "redeemed": 40,
        "closing": 180,
    }
    assert february == {
        "earned": 25,
        "restored": 40,
        "reinstated": 40,
        "expired": 220,
        "redeemed": 45,
        "revoked": 25,
        "closing": -5,
        "owed": 5,
    }
    assert march == {"earned": 18, "adjusted": 4, "waived": 8, "redeemed": 4, "revoked": 8, "closing": 13}
    assert april == {"expired": 13}
    await holds(runtime, shop, rolled, RoundUp.MONTH)


async def test_a_sweep_changes_no_figure(runtime: Runtime, clock: StandingClock) -> None:
    shop = await opened(runtime)
    await a_winter(shop, clock)
    before = await roll_forward(runtime, shop.id, RoundUp.DAY)
    assert await settle_due(runtime)
    after = await roll_forward(runtime, shop.id, RoundUp.DAY)
    assert before == after
    assert len(after.periods) == 111


async def test_closings_are_the_balances_of_then(runtime: Runtime, clock: StandingClock, lanes: int) -> None:
    shop, chance = await opened(runtime), random.Random(lanes)
    bought, held = list[str](), list[str]()
    for n in range(100):
        clock.at += timedelta(minutes=chance.choice((1, 1, 60, 2_000)))
        who, points = chance.choice((ANN, BOB)), chance.randrange(1, 60)
        match chance.randrange(8):
            case 0 | 1:
                at = clock.at - timedelta(days=chance.choice((0, 0, 3, 31)))
                basket = (line(points * 100, quantity_milli=2_000),)
                await shop.send(purchase(f"R-{n}", of=who, at=at, lines=basket))
                bought.append(f"R-{n}")
            case 2 if bought:
                receipt = chance.choice(bought[-3:])
                back = give_back(f"B-{n}", {"1": 1_000}, of=receipt, at=clock.at)
                await shop.send(chance.choice((cancel(receipt), back)))
            case 3:
                await shop.send(adjust(chance.choice((points, -points)), of=who))
            case 4:
                await shop.send(give(points, to=BOB if who == ANN else ANN, of=who))
            case 5:
                reply = await shop.send(hold(points, who, minutes=chance.choice((10, 300))))
                held += [reply["id"]] if reply.status == 201 else []
            case 6 if held:
                id = held.pop()
                await shop.send(chance.choice((capture(id, 1), capture(id), release(id))))
            case _:
                # Whoever has spent all owes what goes back.
                have = (await shop.done(adjust(1, of=who))).balance
                await shop.send(pay(have.get("available", points), of=who))
        if not chance.randrange(20):
            await settle_due(runtime)
    rolled = await roll_forward(runtime, shop.id, RoundUp.DAY)
    await holds(runtime, shop, rolled, RoundUp.DAY)
    moved = {name for one in rolled.periods for name in told(one)}
    assert {"earned", "expired", "revoked", "redeemed", "transferred_in"} <= moved


async def test_what_does_not_add_up_is_named(
    runtime: Runtime, clock: StandingClock, database: Database
) -> None:
    shop = await opened(runtime)
    await shop.done(adjust(100), purchase("R-1", 5_000, at=JANUARY), purchase("R-2", 700, of=BOB, at=JANUARY))
    async with superuser(database) as link:
        await link.execute(
            "ALTER TABLE postings DISABLE TRIGGER USER; ALTER TABLE entries DISABLE TRIGGER USER"
        )
        await link.execute(
            "UPDATE postings SET points = 8 WHERE program_id = $1 AND points = 7 AND source = 'issued'",
            shop.id,
        )
        await link.execute(
            "UPDATE entries SET kind = 'mature' WHERE program_id = $1 AND kind = 'adjust_credit'", shop.id
        )
        await link.execute(
            "ALTER TABLE postings ENABLE TRIGGER USER; ALTER TABLE entries ENABLE TRIGGER USER"
        )
    rolled = await roll_forward(runtime, shop.id, RoundUp.MONTH)
    assert rolled.differences() == [
        "points 2026-01: opening and movements come to 58, closing is 158",
        "points: the last closing is 158, the accounts hold 157",
    ]
    assert rolled.of("stars").differences() == []
    assert rolled.of("points") == rolled
