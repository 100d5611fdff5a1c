"""Program days are closed after their end, each once, missed ones in their order."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from loyalty.base.database import reading
from loyalty.jobs import store
from loyalty.jobs.days import close_days
from loyalty.operating.desk import Desk
from loyalty.posting.commands import AdvanceClock
from loyalty.programs.service import create_program
from loyalty.programs.types import ProgramKind
from tests.jobs.conftest import SHOP, HandClock

START = datetime(2026, 3, 27, 12, tzinfo=UTC)  # two days before Vienna's clocks go forward


async def sandbox(desk: Desk) -> UUID:
    return await desk.create_program(ProgramKind.SANDBOX, SHOP, START)


async def jump(desk: Desk, program_id: UUID, to: datetime) -> None:
    """The clock stands at `to`, and nobody has closed a day on the way."""
    await desk.submit(program_id, AdvanceClock(to))


async def closed(desk: Desk, program_id: UUID) -> list[date]:
    async with reading(desk.runtime.engine, program_id) as connection:
        query = text(
            "SELECT closes_on FROM blocks WHERE program_id = :program AND closes_on IS NOT NULL ORDER BY number"
        )
        return list((await connection.execute(query, {"program": program_id})).scalars())


async def test_a_day_is_closed_at_its_local_end_and_not_before(desk: Desk) -> None:
    program = await sandbox(desk)
    end = datetime(2026, 3, 27, 23, tzinfo=UTC)  # midnight in Vienna
    await jump(desk, program, end - timedelta(microseconds=1))
    await close_days(desk.runtime)
    assert await closed(desk, program) == []
    await jump(desk, program, end)
    await close_days(desk.runtime)
    assert await closed(desk, program) == [date(2026, 3, 27)]


async def test_missed_days_are_closed_one_after_the_other_over_a_clock_change(desk: Desk) -> None:
    program = await sandbox(desk)
    await jump(desk, program, datetime(2026, 3, 30, 22, tzinfo=UTC))
    await close_days(desk.runtime)
    assert await closed(desk, program) == [date(2026, 3, day) for day in (27, 28, 29, 30)]


async def test_looking_twice_or_at_once_closes_a_day_once(desk: Desk) -> None:
    program = await sandbox(desk)
    await jump(desk, program, START + timedelta(days=5))
    await asyncio.gather(*(close_days(desk.runtime) for _ in range(3)))
    await close_days(desk.runtime)
    assert await closed(desk, program) == [date(2026, 3, 27) + timedelta(days=day) for day in range(5)]


async def test_a_program_with_many_days_leaves_the_others_their_turn(desk: Desk) -> None:
    far, near = await sandbox(desk), await sandbox(desk)
    await jump(desk, far, START + timedelta(days=9))
    await jump(desk, near, START + timedelta(days=2))
    await close_days(desk.runtime, most=3)
    assert [len(await closed(desk, program)) for program in (far, near)] == [3, 2]
    await close_days(desk.runtime)
    assert len(await closed(desk, far)) == 9


async def test_a_live_program_closes_the_days_of_real_time(desk: Desk, clock: HandClock) -> None:
    program = await desk.create_program(ProgramKind.LIVE, SHOP)
    clock.ahead = timedelta(days=2)
    await close_days(desk.runtime)
    assert len(await closed(desk, program)) == 2


async def test_a_program_without_configuration_is_left_alone(desk: Desk) -> None:
    program = desk.ids()
    await create_program(desk.runtime.engine, program, ProgramKind.SANDBOX, 1, desk.now(), START)
    await close_days(desk.runtime)
    assert await closed(desk, program) == []


async def test_the_trouble_of_one_program_is_not_the_others(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, other = await sandbox(desk), await sandbox(desk)
    for program in (broken, other):
        await jump(desk, program, START + timedelta(days=2))
    whole = store.last_closed

    async def breaks(connection: AsyncConnection, program_id: UUID) -> date | None:
        if program_id == broken:
            raise OverflowError("date value out of range")
        return await whole(connection, program_id)

    monkeypatch.setattr(store, "last_closed", breaks)
    assert await close_days(desk.runtime) == 2
    assert [len(await closed(desk, program)) for program in (broken, other)] == [0, 2]
