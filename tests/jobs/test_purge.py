"""Idempotency records live thirty days of real time; the receipts themselves are known for ever."""

from datetime import timedelta
from uuid import UUID, uuid4

from sqlalchemy import text

from loyalty.base.database import transaction
from loyalty.jobs.purge import KEPT, purge_idempotency
from loyalty.operating.desk import Desk
from loyalty.programs.types import ProgramKind
from tests.jobs.conftest import SHOP, HandClock


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
