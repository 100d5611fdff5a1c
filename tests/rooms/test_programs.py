"""Programs: one head per lane, a clock of one's own for a sandbox, one number of cells for ever."""

from datetime import datetime
from uuid import UUID

import pytest
from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncEngine

from loyalty.base.database import reading, transaction
from loyalty.programs import store
from loyalty.programs.service import (
    CellsDiffer,
    create_program,
    deployment_cells,
    get_program,
    list_programs,
)
from loyalty.programs.tables import configurations
from loyalty.programs.types import ProgramKind, ProgramNotFound
from tests.rooms.conftest import NOW, ids, later, new_program


async def clock(engine: AsyncEngine, program_id: UUID) -> datetime | None:
    async with reading(engine, program_id) as connection:
        found = await store.sandbox_clock(connection, program_id)
    return found and found.now


async def test_a_program_has_one_head_for_each_of_its_lanes(engine: AsyncEngine) -> None:
    program_id = await new_program(engine, cells=8)
    async with reading(engine, program_id) as connection:
        heads = (await connection.execute(text("SELECT cell FROM heads ORDER BY cell"))).scalars().all()
    assert heads == list(range(8))


async def test_a_live_program_has_no_clock_and_a_sandbox_has_one(engine: AsyncEngine) -> None:
    live, fresh, old = ids(), ids(), ids()
    await create_program(engine, live, ProgramKind.LIVE, 1, NOW)
    await create_program(engine, fresh, ProgramKind.SANDBOX, 1, NOW)
    await create_program(engine, old, ProgramKind.SANDBOX, 1, NOW, clock_at=later(days=-3650))
    assert await clock(engine, live) is None
    assert await clock(engine, fresh) == NOW
    assert await clock(engine, old) == later(days=-3650)


async def test_programs_are_found_by_id_and_listed(engine: AsyncEngine) -> None:
    made = ids()
    program = await create_program(engine, made, ProgramKind.SANDBOX, 1, NOW)
    assert await get_program(engine, made) == program
    assert (await list_programs(engine))[-1] == program
    with pytest.raises(ProgramNotFound):
        await get_program(engine, ids())


async def test_the_first_start_fixes_the_number_of_cells(engine: AsyncEngine) -> None:
    assert await deployment_cells(engine, 8) == 8
    assert await deployment_cells(engine, 8) == 8
    with pytest.raises(CellsDiffer, match="LOYALTY_CELLS = 4: expected 8"):
        await deployment_cells(engine, 4)


async def test_configurations_are_loaded_in_order_from_a_number_on_and_no_more_than_wanted(
    engine: AsyncEngine,
) -> None:
    program_id = await new_program(engine)
    assert await _load(engine, program_id) == []
    async with transaction(engine, program_id) as connection:
        for number in (2, 1, 3):
            await connection.execute(
                insert(configurations),
                {
                    "program_id": program_id,
                    "number": number,
                    "effective_at": later(days=number),
                    "published_at": NOW,
                    "settings": {"name": "Café"},
                    "ruleset": {"rules": []},
                },
            )
    loaded = await _load(engine, program_id)
    assert [(row.number, row.effective_at) for row in loaded] == [(n, later(days=n)) for n in (1, 2, 3)]
    assert (loaded[0].settings, loaded[0].ruleset) == ('{"name":"Café"}', '{"rules":[]}')
    assert [row.number for row in await _load(engine, program_id, after=1)] == [2, 3]
    assert [row.number for row in await _load(engine, program_id, after=1, limit=1)] == [2]


async def _load(
    engine: AsyncEngine, program_id: UUID, after: int = 0, limit: int = 9
) -> list[store.PublishedRow]:
    async with reading(engine, program_id) as connection:
        return await store.load_published(connection, program_id, after, limit)
