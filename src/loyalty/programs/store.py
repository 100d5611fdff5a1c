"""The SQL of programs, their configurations and clocks, and of the deployment's constants."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Text, cast, insert, select
from sqlalchemy.dialects.postgresql import insert as insert_or_leave
from sqlalchemy.ext.asyncio import AsyncConnection

from loyalty.base.rows import columns, struct, values
from loyalty.programs.tables import configurations, deployment, heads, programs, sandbox_clocks
from loyalty.programs.types import Program, SandboxClock


class PublishedRow(NamedTuple):
    """One configuration as stored; the documents are JSON text for posting to read."""

    number: int
    effective_at: datetime
    published_at: datetime
    settings: str
    ruleset: str
    rewards: str | None
    tier_sets: str | None


async def add_program(
    connection: AsyncConnection, program: Program, cells: int, clock_at: datetime | None
) -> None:
    """Write a program with the heads of its lanes, and its clock when it has one of its own."""
    await connection.execute(insert(programs), values(program))
    await connection.execute(
        insert(heads), [{"program_id": program.id, "cell": cell} for cell in range(cells)]
    )
    if clock_at is not None:
        await connection.execute(insert(sandbox_clocks), {"program_id": program.id, "now_at": clock_at})


async def program(connection: AsyncConnection, program_id: UUID) -> Program | None:
    query = select(*columns(programs, Program)).where(programs.c.id == program_id)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else struct(row, Program)


async def all_programs(connection: AsyncConnection) -> list[Program]:
    """Every program of the installation, oldest first."""
    return [
        struct(row, Program)
        for row in await connection.execute(select(*columns(programs, Program)).order_by(programs.c.id))
    ]


async def sandbox_clock(connection: AsyncConnection, program_id: UUID) -> SandboxClock | None:
    """A sandbox program's clock; None for a program that lives by the real one."""
    c = sandbox_clocks.c
    query = select(c.now_at, c.moving_to, c.moved_by).where(c.program_id == program_id)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else SandboxClock(*row)


async def load_published(
    connection: AsyncConnection, program_id: UUID, after: int, limit: int
) -> list[PublishedRow]:
    """The program's first `limit` configurations numbered above `after`, in the order of their numbers."""
    c = configurations.c
    query = (
        select(
            c.number,
            c.effective_at,
            c.published_at,
            cast(c.settings, Text),
            cast(c.ruleset, Text),
            cast(c.rewards, Text),
            cast(c.tier_sets, Text),
        )
        .where(c.program_id == program_id, c.number > after)
        .order_by(c.number)
        .limit(limit)
    )
    return [PublishedRow(*row) for row in await connection.execute(query)]


async def deployed_cells(connection: AsyncConnection, wanted: int) -> int:
    """The deployment's number of cells: `wanted` when none was written yet, else what was written."""
    await connection.execute(insert_or_leave(deployment).values(cells=wanted).on_conflict_do_nothing())
    return (await connection.execute(select(deployment.c.cells))).scalar_one()
