"""A shop grows from empty tables: before PostgreSQL ever took statistics, no command reads a neighbour's rows."""

import itertools
import re
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from loyalty.base.ids import NIL
from loyalty.ledger.verify import verify
from loyalty.posting import store
from loyalty.posting.commands import UseHold
from loyalty.posting.quote import quote
from loyalty.posting.runtime import Runtime
from tests.conftest import Database
from tests.posting.live import LiveShop, open_shop, serving, superuser
from tests.posting.shop import (
    ANN,
    adjust,
    ago,
    cancel,
    capture,
    card,
    claim,
    enrol,
    extend,
    hold,
    imported,
    ladder,
    purchase,
    reinstate,
    release,
    submission,
)

MEMBERS = 1_000
FEW = 40  # index entries that one command of one member may look at
BLOCKS = 400
OF_ONE_ROW = {"sandbox_clocks", "configurations", "blocks"}  # in a program, or the last of an index
OFTEN = 20  # times that the auditor may look at an index entry
_TABLES = """
SELECT oid::regclass FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
"""
_READ = """
SELECT relname || '.' || indexrelname, idx_tup_read FROM pg_stat_user_indexes WHERE idx_tup_read > 0
"""


async def _balance(shop: LiveShop) -> None:
    await shop.runtime.balances_now(shop.id, card(ANN))


async def _quote(shop: LiveShop) -> None:
    asked = submission(shop.id, purchase("Q-1"), "quote", by=shop.client)
    await quote(shop.runtime, shop.id, purchase("Q-1"), asked.actor, "quote")


async def _claim(shop: LiveShop) -> None:
    guest = await shop.done(purchase("G-1", of=None))
    await shop.done(claim(guest["id"]))


async def _holds(shop: LiveShop) -> None:
    ids = [(await shop.done(hold(1, minutes=60)))["id"] for _ in range(3)]
    await shop.done(extend(ids[0], 90), capture(ids[0]), release(ids[1]))
    await shop.done(purchase("P-2", holds=(UseHold(UUID(ids[2])),)), cancel("P-2"))


async def _reinstatement(shop: LiveShop) -> None:
    await shop.done(imported(5, "gone", at=ago(days=40), expires_at=ago(days=1)), reinstate(5))


CALLS: dict[str, Callable[[LiveShop], Awaitable[Any]]] = {
    "purchase": lambda shop: shop.done(purchase("P-1")),
    "the same again": lambda shop: shop.done(purchase("P-1")),
    "holds": _holds,
    "debit": lambda shop: shop.done(adjust(-1)),
    "import": lambda shop: shop.done(imported(5)),
    "cancel": lambda shop: shop.done(cancel("P-1")),
    "claim": _claim,
    "reinstatement": _reinstatement,
    "quote": _quote,
    "balance": _balance,
}


async def test_no_call_reads_more_than_its_own_rows_in_tables_never_analysed(database: Database) -> None:
    async with superuser(database) as link:
        for table in await link.fetch(_TABLES):
            await link.execute(f"ALTER TABLE {table[0]} SET (autovacuum_enabled = off)")
        # Plans are made over empty tables and kept: so is it with a process that runs from the first day on.
        async with serving(database, pool_size=1) as runtime:
            shop = await open_shop(runtime, reinstate_days=9)
            others = [f"6035551{number:06d}" for number in range(MEMBERS)]
            await shop.together(*(enrol(other) for other in others))
            await shop.together(*(purchase(f"O-{other}", of=other) for other in others))
            await shop.together(*(hold(1, of=other, minutes=60) for other in others))
            ended = {"at": ago(days=40), "expires_at": ago(days=1)}
            await shop.together(*(imported(5, f"I-{other}", of=other, **ended) for other in others))
            looked: dict[str, dict[str, int]] = {}
            for name, call in CALLS.items():
                before = await _read(link, runtime)
                await call(shop)
                after = await _read(link, runtime)
                looked[name] = {
                    index: more
                    for index, read in after.items()
                    if (more := read - before.get(index, 0)) > FEW
                }
    assert looked == {name: {} for name in CALLS}


async def test_the_auditor_reads_each_row_a_few_times_in_tables_never_analysed(database: Database) -> None:
    async with superuser(database) as link:
        for table in await link.fetch(_TABLES):
            await link.execute(f"ALTER TABLE {table[0]} SET (autovacuum_enabled = off)")
        async with serving(database, pool_size=1) as runtime:
            shop = await open_shop(runtime)
            for n in range(BLOCKS):
                await shop.done(purchase(f"P-{n}"))
            for n in range(0, BLOCKS, 10):
                await shop.done(cancel(f"P-{n}"))
                await shop.done(hold(1, minutes=60))
            before = await _read(link, runtime)
            report = await verify(runtime.pool.acquire, shop.id)
            after = await _read(link, runtime)
    assert report.intact
    assert report.figures.blocks > BLOCKS
    # No more often than a few times each; every block for every purchase would be a hundred times as much.
    most = OFTEN * report.figures.postings
    assert {
        index: more for index, read in after.items() if (more := read - before.get(index, 0)) > most
    } == {}


async def test_a_program_that_came_since_the_last_count_is_read_like_any_other(database: Database) -> None:
    async with superuser(database) as link, serving(database, pool_size=1) as runtime:
        for table in await link.fetch(_TABLES):
            await link.execute(f"ALTER TABLE {table[0]} SET (autovacuum_enabled = off)")
        old = await open_shop(runtime)
        others = [f"6035551{number:06d}" for number in range(MEMBERS)]
        for shop in (old, await open_shop(runtime)):
            await shop.together(*(enrol(other) for other in others))
            for _ in range(2):
                await shop.together(*(purchase(uuid4().hex, of=other) for other in others))
            if shop is old:
                await link.execute("ANALYZE")  # it is all that there is
        before = await _read(link, runtime)
        report = await verify(runtime.pool.acquire, shop.id)
        after = await _read(link, runtime)
    assert report.intact
    assert report.figures.entries >= 2 * MEMBERS
    most = OFTEN * report.figures.postings
    assert {
        index: more for index, read in after.items() if (more := read - before.get(index, 0)) > most
    } == {}


async def test_every_read_of_the_road_names_its_rows_whatever_was_counted(database: Database) -> None:
    async with superuser(database) as link, serving(database, pool_size=1) as runtime:
        for table in await link.fetch(_TABLES):
            await link.execute(f"ALTER TABLE {table[0]} SET (autovacuum_enabled = off)")
        assert await _whole_lanes(database) == set()
        shop = await open_shop(runtime, tier_sets=(ladder(),))
        await shop.done(purchase("P-1"))
        await link.execute("ANALYZE")  # all that it will know of the shop for a while
        assert await _whole_lanes(database) == set()
        others = [f"6035551{number:06d}" for number in range(MEMBERS)]
        await shop.together(*(enrol(other) for other in others))
        for _ in range(3):
            await shop.together(*(purchase(uuid4().hex, of=other) for other in others))
        assert await _whole_lanes(database) == set()
        await link.execute("ANALYZE accounts, members, identifiers, activities")
        assert await _whole_lanes(database) == set()


async def _whole_lanes(database: Database) -> set[str]:
    """Indexes through which the statements of the road would go from end to end of a lane or a program."""
    found: set[str] = set()
    road = await asyncpg.connect(database.app_url, server_settings=store.CONNECTION_SETTINGS)
    await road.execute("SELECT set_config('loyalty.program', $1, false)", str(NIL))
    for name, statement in (("load", store.LOAD), ("load_deep", store.DEEP)):
        await road.execute(f"PREPARE {name} AS {statement}")
        given = ", ".join("NULL" for _ in set(re.findall(r"\$\d+", statement)))
        lines = [row[0] for row in await road.fetch(f"EXPLAIN EXECUTE {name}({given})")]
        for line, below in itertools.pairwise(lines):
            scan = re.search(r"Scan(?: Backward)? using (\w+) on (\w+)", line)
            if scan and scan[2] not in OF_ONE_ROW and not re.search(r"AND.*AND|AND \(reward", below):
                found.add(f"{name}: {scan[1]}{below.strip()}")
            assert "Seq Scan" not in line
    await road.close()
    return found


async def _read(link: "asyncpg.Connection[Any]", runtime: Runtime) -> dict[str, int]:
    """Entries that each index gave so far, to the road's only connection."""
    async with runtime.pool.acquire() as road:
        await road.execute("SELECT pg_stat_force_next_flush()")
    await link.execute("SELECT pg_stat_clear_snapshot()")
    return {row[0]: row[1] for row in await link.fetch(_READ)}
