"""What falls due on accounts that nobody touches is written by the sweep: once, whoever else looks."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from loyalty.base.database import alone
from loyalty.jobs import due, road
from loyalty.jobs.due import settle_due
from loyalty.ledger.verify import verify
from loyalty.posting import store
from loyalty.posting.pipe import BatchSeen
from loyalty.posting.runtime import Runtime
from loyalty.programs.types import PointsCurrency, Rolling
from tests.conftest import Database
from tests.posting.live import LiveShop, StandingClock, open_shop, serving, superuser
from tests.posting.shop import ANN, BOB, NOW, adjust, card, hold, imported

LATER = NOW + timedelta(days=40)
MONTH = Rolling(days=30)


@pytest_asyncio.fixture
async def clock() -> StandingClock:
    return StandingClock()


@pytest_asyncio.fixture
async def runtime(database: Database, clock: StandingClock) -> AsyncIterator[Runtime]:
    async with serving(database, clock) as runtime:
        yield runtime


async def moves(database: Database, shop: LiveShop) -> list[tuple[str, int, datetime]]:
    """What the sweep wrote: kind of entry, points, and when it happened."""
    query = """
        SELECT e.kind, sum(p.points)::int, e.occurred_at FROM entries e
        JOIN decisions d ON d.program_id = e.program_id AND d.id = e.decision_id AND d.kind = 'settle'
        JOIN postings p ON p.program_id = e.program_id AND p.entry_id = e.id
        WHERE e.program_id = $1 GROUP BY e.id, e.kind, e.occurred_at ORDER BY e.occurred_at, e.id
    """
    async with superuser(database) as link:
        return [tuple(row) for row in await link.fetch(query, shop.id)]


async def whole(runtime: Runtime, shop: LiveShop) -> None:
    assert (await verify(runtime.pool.acquire, shop.id)).findings == ()


async def test_points_activate_lapse_and_expire_at_their_own_instants(
    runtime: Runtime, database: Database, clock: StandingClock
) -> None:
    shop = await open_shop(runtime, expiry=MONTH, pending_days=2)
    await shop.done(adjust(100), imported(50, activates_at=NOW, expires_at=NOW + timedelta(hours=9)))
    placed = await shop.done(hold(20, minutes=60))
    assert await settle_due(runtime) == 0
    clock.at = LATER
    assert await settle_due(runtime) == 1
    midnight = datetime(2026, 11, 20, 23, tzinfo=UTC)  # in Berlin
    assert await moves(database, shop) == [
        ("lapse", 20, NOW + timedelta(hours=1)),
        ("expire", 50, NOW + timedelta(hours=9)),
        ("mature", 100, midnight + timedelta(days=1)),
        ("expire", 100, midnight + timedelta(days=29)),
    ]
    assert placed["held"] == 20
    assert await settle_due(runtime) == 0
    await whole(runtime, shop)


async def test_a_sweep_changes_no_balance_that_a_member_reads(runtime: Runtime, clock: StandingClock) -> None:
    shop = await open_shop(runtime, expiry=MONTH)
    await shop.done(imported(70), imported(30, "2", expires_at=LATER + timedelta(days=1)))
    clock.at = LATER
    before = await runtime.balances_now(shop.id, card(ANN))
    assert before is not None
    assert before.balances[0].available == 30
    assert await settle_due(runtime) == 1
    assert await runtime.balances_now(shop.id, card(ANN)) == before


async def test_all_accounts_of_a_member_are_settled_by_one_decision(
    runtime: Runtime, database: Database, clock: StandingClock
) -> None:
    shop = await open_shop(
        runtime, expiry=MONTH, currencies=(PointsCurrency("stars", "stars", expiry=MONTH),)
    )
    await shop.done(imported(1), replace(imported(2, "2"), points_currency="stars"))
    clock.at = LATER
    assert await settle_due(runtime) == 1
    async with superuser(database) as link:
        told = (
            "SELECT count(*) FROM engagement_events WHERE program_id = $1 AND type = 'loyalty.points.settled'"
        )
        assert await link.fetchval(told, shop.id) == 1
    assert len(await moves(database, shop)) == 2


async def test_two_workers_write_it_once(database: Database, clock: StandingClock) -> None:
    async with serving(database, clock) as one, serving(database, clock) as other:
        shop = await open_shop(one, members=(ANN, BOB), expiry=MONTH)
        for n in range(6):
            await shop.done(imported(10, str(n), of=(ANN, BOB)[n % 2]))
        clock.at = LATER
        assert sum(await asyncio.gather(settle_due(one), settle_due(other), settle_due(one))) == 2
        assert [points for _, points, _ in await moves(database, shop)] == [30, 30]
        await whole(one, shop)


async def test_where_somebody_is_at_it_nobody_else_begins(runtime: Runtime, clock: StandingClock) -> None:
    shop = await open_shop(runtime, expiry=MONTH)
    await shop.done(imported(10))
    clock.at = LATER
    async with alone(runtime.engine, f"settle {shop.id}") as first:
        assert first
        assert await settle_due(runtime) == 0
    assert await settle_due(runtime) == 1


async def test_many_are_settled_chunk_by_chunk(
    runtime: Runtime, clock: StandingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(due, "CHUNK", 4)
    monkeypatch.setattr(road, "TOGETHER", 3)
    cards = [f"603556{n:04}" for n in range(11)]
    shop = await open_shop(runtime, members=cards, expiry=MONTH)
    await shop.together(*(imported(1, one, of=one) for one in cards))
    clock.at = LATER
    assert await settle_due(runtime) == 11
    await whole(runtime, shop)


async def test_it_stands_back_while_another_process_writes(
    database: Database, clock: StandingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(road, "TOGETHER", 8)
    monkeypatch.setattr(road, "FEW", 2)
    monkeypatch.setattr(road, "PAUSE_S", 0)
    cards = [f"603556{n:04}" for n in range(40)]
    async with serving(database, clock) as sweeping, serving(database, clock) as till:
        shop = await open_shop(till, members=[ANN, *cards], expiry=MONTH)
        await shop.together(*(imported(1, one, of=one) for one in cards))
        clock.at = LATER
        begin_after = store.begin_after

        async def overtaken(*about: Any) -> bool:
            monkeypatch.setattr(store, "begin_after", begin_after)
            await shop.done(adjust(5))
            return await begin_after(*about)

        monkeypatch.setattr(store, "begin_after", overtaken)
        seen: list[BatchSeen] = []
        sweeping.pipe.observe = seen.append
        assert not sweeping.pipe.met(shop.id)
        assert await settle_due(sweeping) == 40
        assert sweeping.pipe.met(shop.id)
        sizes = [batch.commands for batch in seen]
        assert sizes[0] == 4  # of eight a half
        assert sizes[-10:] == [2] * 10
        await whole(sweeping, shop)


async def test_a_sandbox_is_settled_by_its_own_clock(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime, clock_at=NOW, expiry=MONTH)
    await shop.done(imported(10))
    other: Any = await open_shop(runtime, expiry=MONTH)
    await other.done(imported(10))
    async with superuser(database) as link:
        await link.execute("UPDATE sandbox_clocks SET now_at = $2 WHERE program_id = $1", shop.id, LATER)
    assert await settle_due(runtime) == 1
    assert [kind for kind, *_ in await moves(database, shop)] == ["expire"]
    assert await moves(database, other) == []
