"""A look of a job at every program: one that has no configuration, or cannot just now, takes nobody else's turn."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from uuid import UUID

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from loyalty.base.database import DatabaseUnavailable, ServerBusy
from loyalty.jobs.days import close_days
from loyalty.jobs.due import settle_due
from loyalty.jobs.ladders import changed_ladders
from loyalty.jobs.notices import tell_ahead, tell_program
from loyalty.jobs.programs import in_every_program
from loyalty.jobs.purge import purge_lines, purge_notices
from loyalty.posting.commands import AdvanceClock
from loyalty.posting.runtime import Runtime
from loyalty.programs.service import create_program, list_programs
from loyalty.programs.types import ProgramKind, Rolling
from tests.conftest import Database
from tests.posting.live import new_program, open_shop, serving
from tests.posting.shop import ANN, BOB, NOW, adjust, ladder, purchase

FIRST = UUID(int=1)  # programs are looked at in the order of their ids


@pytest_asyncio.fixture
async def runtime(database: Database) -> AsyncIterator[Runtime]:
    """A runtime whose first program was made, and never had a configuration."""
    async with serving(database) as runtime:
        if all(one.id != FIRST for one in await list_programs(runtime.engine)):
            await create_program(runtime.engine, FIRST, ProgramKind.SANDBOX, runtime.settings.cells, NOW, NOW)
        yield runtime


@pytest.mark.parametrize(
    "sweep", [settle_due, tell_ahead, changed_ladders, close_days, purge_lines, purge_notices]
)
async def test_a_program_without_configuration_is_passed_over_quietly(
    runtime: Runtime, sweep: Callable[[Runtime], Awaitable[int]]
) -> None:
    shop = await open_shop(
        runtime,
        members=(ANN, BOB),
        clock_at=NOW,
        expiry=Rolling(days=31),
        tier_sets=(ladder(),),
        policies={"lines_days": 30},
    )
    await shop.done(adjust(70), purchase("R-1"))
    assert await tell_program(runtime, shop.id, await runtime.history(shop.id), NOW) == 1
    await shop.done(AdvanceClock(NOW + timedelta(days=40)), adjust(70, of=BOB))
    with capture_logs() as said:
        assert await sweep(runtime) > 0
    assert [one for one in said if one.get("program_id") == str(FIRST)] == []


async def test_what_one_program_refuses_is_told_and_the_others_have_their_turn(runtime: Runtime) -> None:
    await new_program(runtime)

    async def work(program_id: UUID) -> int:
        if program_id == FIRST:
            raise ServerBusy
        return 1

    others = len(await list_programs(runtime.engine)) - 1
    with capture_logs() as said:
        assert await in_every_program(runtime, "not_worked", work) == others
    assert said == [{"event": "not_worked", "log_level": "warning", "program_id": str(FIRST), "code": "busy"}]


async def test_a_database_that_is_away_ends_the_look_for_all(runtime: Runtime) -> None:
    looked_at: list[UUID] = []

    async def work(program_id: UUID) -> int:
        looked_at.append(program_id)
        raise DatabaseUnavailable

    await new_program(runtime)
    with pytest.raises(DatabaseUnavailable):
        await in_every_program(runtime, "not_worked", work)
    assert looked_at == [FIRST]
