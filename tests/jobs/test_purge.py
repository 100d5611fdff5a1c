"""Idempotency records live thirty days of real time, lines of purchases as long as their program says; the receipts
themselves are known for ever.
"""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from loyalty.base.database import transaction
from loyalty.jobs.purge import KEPT, purge_idempotency, purge_lines
from loyalty.ledger.verify import verify
from loyalty.operating.desk import Desk
from loyalty.posting.commands import AdvanceClock
from loyalty.posting.reviews import reviews
from loyalty.posting.runtime import Runtime
from loyalty.programs.types import ProgramKind
from tests.conftest import Database
from tests.jobs.conftest import SHOP, HandClock
from tests.posting.live import LiveShop, open_shop, serving
from tests.posting.shop import NOW, cancel, claim, give_back, line, purchase

TWO_LINES = (line(1000), line(500, line_id="2"))


@pytest_asyncio.fixture
async def runtime(database: Database) -> AsyncIterator[Runtime]:
    async with serving(database) as runtime:
        yield runtime


async def write(desk: Desk, program_id: UUID, count: int, age: timedelta) -> None:
    async with transaction(desk.runtime.engine, program_id) as connection:
        statement = text(
            "INSERT INTO idempotency_records (program_id, scope, key, fingerprint, created_at, status, refusal)"
            " VALUES (:program, :scope, :key, '', :at, 409, '{}')"
        )
        rows = [
            {"program": program_id, "scope": uuid4(), "key": f"k{n}", "at": desk.now() - age}
            for n in range(count)
        ]
        await connection.execute(statement, rows)


async def left(desk: Desk, program_id: UUID) -> int:
    async with transaction(desk.runtime.engine, program_id) as connection:
        query = text("SELECT count(*) FROM idempotency_records WHERE program_id = :program")
        return (await connection.execute(query, {"program": program_id})).scalar_one()


async def test_records_go_after_thirty_days_and_not_before(desk: Desk) -> None:
    program = await desk.create_program(ProgramKind.LIVE, SHOP)
    young = await left(desk, program)
    await write(desk, program, 30, KEPT + timedelta(seconds=60))
    await write(desk, program, 20, KEPT - timedelta(seconds=60))
    assert await purge_idempotency(desk.runtime, chunk=7) == 30
    assert await left(desk, program) == young + 20


async def test_every_program_is_looked_through_in_chunks_of_any_size(desk: Desk) -> None:
    programs = [await desk.create_program(ProgramKind.LIVE, SHOP) for _ in range(2)]
    young = [await left(desk, program) for program in programs]
    for program in programs:
        await write(desk, program, 10, timedelta(days=31))
    assert await purge_idempotency(desk.runtime, chunk=5) == 20
    assert [await left(desk, program) for program in programs] == young


async def test_the_database_keeps_a_record_for_its_days_whoever_asks(desk: Desk, clock: HandClock) -> None:
    """A worker whose clock is a year ahead would make retries new requests."""
    program = await desk.create_program(ProgramKind.LIVE, SHOP)
    await write(desk, program, 5, timedelta())
    before = await left(desk, program)
    clock.ahead = timedelta(days=365)
    assert await purge_idempotency(desk.runtime) == 0
    assert await left(desk, program) == before


# --- lines of purchases -------------------------------------------------------------------------------------


async def kept(shop: LiveShop) -> int:
    async with transaction(shop.runtime.engine, shop.id) as connection:
        query = text("SELECT count(content) FROM activities WHERE program_id = :program")
        return (await connection.execute(query, {"program": shop.id})).scalar_one()


async def test_lines_go_after_the_days_of_the_policy_and_the_books_stay_whole(runtime: Runtime) -> None:
    shop = await open_shop(runtime, clock_at=NOW, policies={"lines_days": 30})
    for n in range(7):
        await shop.done(purchase(f"R-{n}", lines=TWO_LINES))
    await shop.done(give_back("B-0", {"1": 1000}, of="R-0"), AdvanceClock(NOW + timedelta(days=10)))
    await shop.done(purchase("R-7", at=NOW + timedelta(days=10)), AdvanceClock(NOW + timedelta(days=30)))
    assert await purge_lines(runtime, chunk=3) == 0
    await shop.done(AdvanceClock(NOW + timedelta(days=30, seconds=1)))
    assert await purge_lines(runtime, chunk=3) == 8
    assert await kept(shop) == 1
    assert await purge_lines(runtime, chunk=3) == 0
    await shop.done(AdvanceClock(NOW + timedelta(days=41)))
    assert await purge_lines(runtime, chunk=3) == 1
    assert (await verify(runtime.pool.acquire, shop.id, also=(reviews,))).findings == ()


async def test_without_its_lines_a_purchase_goes_back_as_a_whole_or_not_at_all(runtime: Runtime) -> None:
    shop = await open_shop(runtime, clock_at=NOW, policies={"lines_days": 1})
    guest = await shop.done(
        purchase("R-1", lines=TWO_LINES), purchase("R-2", lines=TWO_LINES), purchase("R-3", of=None)
    )
    part = give_back("B-1", {"1": 1000}, of="R-1")
    await shop.done(part, AdvanceClock(NOW + timedelta(days=2)))
    assert await purge_lines(runtime) == 4
    assert (await shop.send(give_back("B-2", {"2": 1000}, of="R-1"))).refused == (409, "lines_removed")
    assert (await shop.send(part)).replayed
    assert (await shop.send(purchase("R-1", lines=TWO_LINES))).replayed
    assert (await shop.send(purchase("R-1", 999))).refused == (409, "activity_differs")
    assert (await shop.send(claim(guest["id"]))).refused == (409, "claim_too_late")
    rest = await shop.done(give_back("B-3", of="R-1"))
    assert (rest["complete"], rest["revoked"][0]["points"]) == (True, 5)
    assert (await shop.done(cancel("R-2")))["revoked"][0]["points"] == 15
    assert (await verify(runtime.pool.acquire, shop.id, also=(reviews,))).findings == ()


async def test_the_database_keeps_lines_for_their_days_whoever_asks(
    runtime: Runtime, database: Database
) -> None:
    for_ever, kept_long = [
        await open_shop(runtime, policies=policies) for policies in ({}, {"lines_days": 100})
    ]
    for shop in (for_ever, kept_long):
        await shop.done(purchase("R-1"))
        for change in ("NULL", "'{}'"):
            with pytest.raises(DBAPIError, match="kept for their days"):
                async with transaction(runtime.engine, shop.id) as connection:
                    await connection.execute(text(f"UPDATE activities SET content = {change}"))
    assert await purge_lines(runtime) == 0
    assert [await kept(shop) for shop in (for_ever, kept_long)] == [1, 1]
