"""Making a program, and the constants of the deployment.

A new program has no configuration yet: the first one is published through the pipe like every later one.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from loyalty.base.database import shared, transaction
from loyalty.programs import store
from loyalty.programs.types import Program, ProgramKind, ProgramNotFound


class CellsDiffer(Exception):
    """The configured number of cells is not the one that the data was written with: the process must not start."""


async def create_program(
    engine: AsyncEngine,
    program_id: UUID,
    kind: ProgramKind,
    cells: int,
    created_at: datetime,
    clock_at: datetime | None = None,
) -> Program:
    """A new program with a head for each of its lanes; a sandbox's clock stands at `clock_at` (default: now).

    Needs: `cells` as deployment_cells gave it; `clock_at` only for a sandbox.
    """
    assert kind is ProgramKind.SANDBOX or clock_at is None
    program = Program(program_id, kind, created_at)
    starts_at = clock_at or created_at if kind is ProgramKind.SANDBOX else None
    async with transaction(engine, program_id) as connection:
        await store.add_program(connection, program, cells, starts_at)
    return program


async def get_program(engine: AsyncEngine, program_id: UUID) -> Program:
    """Raises: ProgramNotFound."""
    async with shared(engine) as connection:
        program = await store.program(connection, program_id)
    if program is None:
        raise ProgramNotFound
    return program


async def list_programs(engine: AsyncEngine) -> list[Program]:
    """Every program of the installation, oldest first; for the operator and the jobs."""
    async with shared(engine) as connection:
        return await store.all_programs(connection)


async def deployment_cells(engine: AsyncEngine, wanted: int) -> int:
    """The deployment's number of cells, written by the first start and equal to `wanted` ever after.

    Raises: CellsDiffer, since rows are never moved to another cell.
    """
    async with shared(engine) as connection:
        cells = await store.deployed_cells(connection, wanted)
    if cells != wanted:
        raise CellsDiffer(f"LOYALTY_CELLS = {wanted}: expected {cells}, the number the data was written with")
    return cells
