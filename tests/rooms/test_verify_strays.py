"""What stands beside the lanes: rows in none, clocks that nobody set, a status that no decision tells."""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from loyalty.ledger.verify import verify
from loyalty.members.types import MemberStatus
from loyalty.posting.commands import AdvanceClock, ChangeMember, EraseMember, MoveClock
from loyalty.posting.runtime import Runtime
from tests.conftest import Database
from tests.posting.live import LiveShop, open_shop, serving, superuser
from tests.posting.shop import ANN, BOB, NOW, cancel, card, give_back, imported, purchase


@pytest_asyncio.fixture
async def runtime(database: Database) -> AsyncIterator[Runtime]:
    async with serving(database) as runtime:
        yield runtime


async def findings(shop: LiveShop) -> list[tuple[str, str]]:
    report = await verify(shop.runtime.pool.acquire, shop.id)
    return [(found.table, found.what) for found in report.findings]


async def as_application(database: Database, shop: LiveShop, statement: str, *arguments: object) -> None:
    link = await asyncpg.connect(database.app_url)
    try:
        await link.execute("SELECT set_config('loyalty.program', $1, false)", str(shop.id))
        await link.execute(statement, *arguments)
    finally:
        await link.close()


LATER = NOW + timedelta(days=3)


async def test_rows_in_no_lane_are_named(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime)
    assert await findings(shop) == []
    account = (
        "INSERT INTO accounts (program_id, cell, id, owner_id, points_currency, seq, pending, available, held, debt)"
        " VALUES ($1, $2, gen_random_uuid(), gen_random_uuid(), 'points', 1, 0, 777, 0, 0)"
    )
    await as_application(database, shop, account, shop.id, 9)
    assert await findings(shop) == [("accounts", "lies in no lane of the program")]
    await as_application(database, shop, "INSERT INTO heads VALUES ($1, 9)", shop.id)
    assert ("heads", "is no lane of this deployment") in await findings(shop)


async def test_nobody_moves_the_clock_of_a_live_program(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime)
    clock = "INSERT INTO sandbox_clocks (program_id, now_at) VALUES ($1, $2)"
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await as_application(database, shop, clock, shop.id, NOW + timedelta(days=1000))
    async with superuser(database) as link:
        await link.execute("SET session_replication_role = replica")  # no trigger stands against a superuser
        await link.execute(clock, shop.id, NOW + timedelta(days=1000))
    assert await findings(shop) == [("sandbox_clocks", "belongs to a program that lives by real time")]


async def test_a_sandbox_clock_stands_where_it_was_set(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime, clock_at=NOW)
    assert await findings(shop) == []
    await shop.done(AdvanceClock(NOW + timedelta(days=5)))
    assert await findings(shop) == []
    change = "UPDATE sandbox_clocks SET now_at = $2 WHERE program_id = $1"
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await as_application(database, shop, change, shop.id, NOW)
    await as_application(database, shop, change, shop.id, NOW + timedelta(days=9))
    ((table, what),) = await findings(shop)
    assert (table, what.endswith("was set to 2026-11-25T15:30:00+00:00")) == ("sandbox_clocks", True)


async def test_a_sandbox_clock_is_on_its_way_where_it_was_sent(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime, clock_at=NOW)
    strays = ("sandbox_clocks", "is not on the way on which it was sent last")
    await as_application(
        database, shop, "UPDATE sandbox_clocks SET moving_to = $2 WHERE program_id = $1", shop.id, LATER
    )
    assert await findings(shop) == [strays]
    await as_application(
        database, shop, "UPDATE sandbox_clocks SET moving_to = NULL WHERE program_id = $1", shop.id
    )
    await shop.done(MoveClock(LATER), AdvanceClock(NOW + timedelta(days=1)))
    assert await findings(shop) == []
    for change in ("moving_to = NULL", "moving_to = moving_to + interval '1 s'", "moved_by = program_id"):
        async with superuser(database) as link:
            await link.execute(f"UPDATE sandbox_clocks SET {change} WHERE program_id = $1", shop.id)
            assert await findings(shop) == [strays], change
            back = "UPDATE sandbox_clocks SET moving_to = $2, moved_by = (SELECT id FROM decisions"
            back += " WHERE program_id = $1 AND kind = 'move_clock') WHERE program_id = $1"
            await link.execute(back, shop.id, LATER)
    await shop.done(AdvanceClock(LATER))
    assert await findings(shop) == []


async def test_a_members_status_is_that_of_its_last_decision(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime, members=(ANN, BOB))
    await shop.done(ChangeMember(card(ANN), MemberStatus.BLOCKED))
    await shop.done(EraseMember(card(BOB)))
    assert await findings(shop) == []
    change = "UPDATE members SET status = $2 WHERE program_id = $1"
    await as_application(database, shop, change, shop.id, "erased")
    assert await findings(shop) == [("members", "does not say what the last decision about it says")]


async def test_one_activity_has_one_receipt(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime)
    bought = await shop.done(purchase("R-1"))
    forge = (
        "INSERT INTO activity_keys SELECT program_id, kind, source, 'R-2', state, activity_id, cell, decision_id,"
        " content_digest FROM activity_keys WHERE program_id = $1 AND activity_id = $2"
    )
    with pytest.raises(asyncpg.UniqueViolationError):
        await as_application(database, shop, forge, shop.id, UUID(bought["id"]))


async def test_what_was_told_of_a_purchase_cannot_be_removed(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime)
    await shop.done(purchase("R-1"))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await as_application(database, shop, "UPDATE activities SET content = NULL")


async def test_a_member_is_whom_a_decision_enrolled_and_nobody_else(
    runtime: Runtime, database: Database
) -> None:
    shop = await open_shop(runtime, members=(ANN, BOB))
    await shop.done(purchase("R-1"))
    merge = "UPDATE members SET merged_into = $2 WHERE program_id = $1 AND id <> $2"
    bob = "SELECT member_id FROM identifiers WHERE program_id = $1 AND value = $2"
    async with superuser(database) as link:
        other = await link.fetchval(bob, shop.id, BOB)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await as_application(database, shop, merge, shop.id, other)
    async with superuser(database) as link:
        await link.execute(merge, shop.id, other)
        assert await findings(shop) == [("members", "is merged into another, which no decision did")]
        await link.execute("UPDATE members SET merged_into = NULL WHERE program_id = $1", shop.id)
        older = "UPDATE members SET enrolled_at = enrolled_at - interval '1 year' WHERE id = $1"
        await link.execute(older, other)
    assert await findings(shop) == [("members", "was not enrolled then by any decision")]


async def test_a_receipt_bears_the_number_it_was_recorded_by(runtime: Runtime, database: Database) -> None:
    """Not even where events say the other number too: the purchase could be recorded once more."""
    shop = await open_shop(runtime)
    await shop.done(purchase("R-1"), purchase("R-2"), give_back(of="R-2"), cancel("R-3"), imported(5))
    assert await findings(shop) == []
    for number in ("R-1", "B-1", "R-3", "1"):
        async with superuser(database) as link:
            await link.execute("SET session_replication_role = replica")
            keys = await link.fetchval(
                "SELECT count(*) FROM activity_keys WHERE program_id = $1 AND external_id = $2",
                shop.id,
                number,
            )
            assert keys, number
            for old, new in ((number, "Z-9"), ("Z-9", number)):
                await link.execute(
                    "UPDATE activity_keys SET external_id = $3 WHERE program_id = $1 AND external_id = $2",
                    shop.id,
                    old,
                    new,
                )
                await link.execute(
                    "UPDATE engagement_events SET data = replace(data::text, $2, $3)::json WHERE program_id = $1",
                    shop.id,
                    f'"{old}"',
                    f'"{new}"',
                )
                if new == "Z-9":
                    told = await findings(shop)
                    assert told == [("activity_keys", "bears another number than its decision noted")] * keys
    assert await findings(shop) == []


async def test_a_recorded_receipt_keeps_what_it_was_told_with(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime)
    await shop.done(purchase("R-1"))
    async with superuser(database) as link:
        await link.execute("UPDATE activity_keys SET content_digest = '' WHERE program_id = $1", shop.id)
    assert await findings(shop) == [("activity_keys", "has no digest of what was told")]
    again = await shop.send(purchase("R-1"))
    assert (again.status, again.replayed) == (200, True)  # known by its lines, not taken for cancelled


async def test_a_program_lives_by_the_clock_it_was_made_with(runtime: Runtime, database: Database) -> None:
    live, sandbox = await open_shop(runtime), await open_shop(runtime, clock_at=NOW)
    await sandbox.done(AdvanceClock(NOW + timedelta(days=5)))
    async with superuser(database) as link:
        await link.execute("SET session_replication_role = replica")
        await link.execute("UPDATE programs SET kind = 'sandbox' WHERE id = $1", live.id)
        began = "SELECT recorded_at FROM blocks WHERE program_id = $1 AND cell = 0 AND number = 1"
        await link.execute(
            "INSERT INTO sandbox_clocks VALUES ($1, $2)", live.id, await link.fetchval(began, live.id)
        )
        assert await findings(live) == [("programs", "is sandbox now, and was made live")]
        await link.execute("DELETE FROM sandbox_clocks WHERE program_id = $1", sandbox.id)
        missing = ("sandbox_clocks", "is missing: the program lives by a clock of its own")
        assert await findings(sandbox) == [missing]
        await link.execute("UPDATE programs SET kind = 'live' WHERE id = $1", sandbox.id)
    assert await findings(sandbox) == [
        ("programs", "is live now, and was made sandbox"),
        ("programs", "lives by real time, but a clock of it was set"),
    ]
