"""The laws are checked once a day in every live program that closed a day, and what is broken is said aloud."""

import asyncio
from datetime import timedelta
from uuid import UUID

from structlog.testing import capture_logs

from loyalty.base.database import shared
from loyalty.jobs.days import close_days
from loyalty.jobs.laws import check_laws
from loyalty.jobs.overview import totals
from loyalty.jobs.runs import execute, waiting_runs
from loyalty.jobs.service import get_run, list_runs
from loyalty.jobs.types import Run, RunKind
from loyalty.jobs.works import WORKS
from loyalty.operating.desk import Desk
from loyalty.programs.types import ProgramKind
from tests.conftest import Database
from tests.jobs.conftest import SHOP, HandClock
from tests.posting.live import superuser


async def asked(desk: Desk, program: UUID) -> list[Run]:
    async with shared(desk.runtime.engine) as connection:
        listed = await list_runs(connection, program, kinds=[RunKind.VERIFICATION], limit=10)
        return [await get_run(connection, program, one.id) for one in listed]


async def test_one_verification_a_day_however_many_days_were_closed(desk: Desk, clock: HandClock) -> None:
    program = await desk.create_program(ProgramKind.LIVE, SHOP)
    await check_laws(desk.runtime)
    assert await asked(desk, program) == []  # no day is over
    clock.ahead = timedelta(days=5)
    assert await close_days(desk.runtime) >= 5
    await asyncio.gather(*(check_laws(desk.runtime) for _ in range(3)))
    await check_laws(desk.runtime)
    (run,) = await asked(desk, program)
    assert run.input["asked_on"] == desk.now().date().isoformat()
    clock.ahead = timedelta(days=6)
    await check_laws(desk.runtime)
    assert len(await asked(desk, program)) == 1  # another day, but none was closed since
    await close_days(desk.runtime)
    await check_laws(desk.runtime)
    assert len(await asked(desk, program)) == 2


async def test_a_sandbox_is_checked_only_when_it_is_asked_for(desk: Desk) -> None:
    program = await desk.create_program(ProgramKind.SANDBOX, SHOP, desk.now())
    await desk.advance_clock(program, desk.now() + timedelta(days=3))
    await close_days(desk.runtime)
    await check_laws(desk.runtime)
    assert await asked(desk, program) == []


async def test_what_is_broken_is_in_the_log_and_in_the_figures(
    desk: Desk, clock: HandClock, database: Database
) -> None:
    program = await desk.create_program(ProgramKind.LIVE, SHOP)
    before = (await totals(desk.runtime)).broken
    async with superuser(database) as link:
        await link.execute("SET session_replication_role = replica")
        await link.execute("UPDATE decisions SET answer = '{}' WHERE program_id = $1", program)
    clock.ahead = timedelta(days=2)
    await close_days(desk.runtime)
    await check_laws(desk.runtime)
    with capture_logs() as said:
        for run in await waiting_runs(desk.runtime):
            if run.program_id == program:
                await execute(desk.runtime, run.program_id, run.id, WORKS)
    (line,) = [one for one in said if one["event"] == "books_broken"]
    assert (line["log_level"], line["program_id"]) == ("error", str(program))
    assert (await totals(desk.runtime)).broken - before == line["broken"] > 0
