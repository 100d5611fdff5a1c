"""What is looked through chunk by chunk is read once, however much of it lies behind the chunk."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from loyalty.base.database import reading
from loyalty.base.ids import NIL
from loyalty.jobs.store import due_standings
from loyalty.ledger.store import accounts_after, due
from loyalty.posting.runtime import Runtime
from tests.conftest import Database
from tests.posting.live import LiveShop, StandingClock, open_shop, serving, superuser
from tests.posting.shop import NOW

MANY, CHUNK = 20_000, 100
Look = Callable[[AsyncConnection, Any], Awaitable[tuple[int, Any]]]  # from where on; how many, and the last

STANDINGS = """
INSERT INTO standings (program_id, cell, member_id, tier_set, joined_on, next_review_at, judged_by)
SELECT $1, 0, gen_random_uuid(), 'status', '2026-01-01', $2, 1 FROM generate_series(1, $3)
"""
ACCOUNTS = """
INSERT INTO accounts (program_id, cell, id, owner_id, points_currency, seq, pending, available, held, debt, next_due_at)
SELECT $1, 0, gen_random_uuid(), gen_random_uuid(), 'points', 0, 0, 1, 0, 0, $3 FROM generate_series(1, $2)
"""


@pytest_asyncio.fixture
async def runtime(database: Database) -> AsyncIterator[Runtime]:
    async with serving(database, StandingClock()) as runtime:
        yield runtime


async def read(connection: AsyncConnection, table: str) -> int:
    """Rows of a table that this connection has looked at, and not yet told the server of."""
    query = text("SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = :table")
    return (await connection.execute(query, {"table": table})).scalar_one()


async def read_once(runtime: Runtime, shop: LiveShop, table: str, look: Look) -> None:
    """Three chunks cost no more than they show, however much lies behind them."""
    found, after = 0, None
    for _ in range(3):
        async with reading(runtime.engine, shop.id) as connection:
            before = await read(connection, table)
            some, after = await look(connection, after)
            assert await read(connection, table) - before <= 2 * CHUNK
        found += some
    assert found == 3 * CHUNK


async def test_members_who_are_due_at_one_instant(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime)
    async with superuser(database) as link:
        await link.execute(STANDINGS, shop.id, NOW, MANY)

    async def look(connection: AsyncConnection, after: Any) -> tuple[int, Any]:
        later = NOW + timedelta(days=1)
        some = await due_standings(connection, shop.id, 0, ["status"], later, after, CHUNK)
        return len(some), some[-1]

    await read_once(runtime, shop, "standings", look)


async def test_accounts_of_a_lane(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime)
    async with superuser(database) as link:
        await link.execute(ACCOUNTS, shop.id, MANY, None)

    async def look(connection: AsyncConnection, after: Any) -> tuple[int, Any]:
        some = await accounts_after(connection, shop.id, 0, "points", after or NIL, CHUNK)
        return len(some), some[-1].account.id

    await read_once(runtime, shop, "accounts", look)


async def test_accounts_on_which_something_is_due(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime)
    async with superuser(database) as link:
        await link.execute(ACCOUNTS, shop.id, MANY, NOW)

    async def look(connection: AsyncConnection, after: Any) -> tuple[int, Any]:
        some = await due(connection, shop.id, 0, NOW, after, CHUNK)
        return len(some), (NOW, some[-1].account.id)

    await read_once(runtime, shop, "accounts", look)
