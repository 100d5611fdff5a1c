"""All SQL of imports."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from loyalty.base.rows import columns, struct, values
from loyalty.jobs.imports.tables import import_parts, import_rejections, imports
from loyalty.jobs.imports.types import Import, ImportKind, Progress, Rejection
from loyalty.jobs.store import came_further, ours
from loyalty.jobs.tables import runs
from loyalty.jobs.types import Run


async def add(connection: AsyncConnection, program_id: UUID, one: Import) -> None:
    row = values(one)
    del row["progress"]
    await connection.execute(
        insert(imports), {"program_id": program_id, **row, **msgspec.structs.asdict(one.progress)}
    )


async def get(
    connection: AsyncConnection, program_id: UUID, import_id: UUID, *, lock: bool = False
) -> Import | None:
    query = select(imports).where(_named(program_id, import_id))
    row = (await connection.execute(query.with_for_update() if lock else query)).one_or_none()
    return None if row is None else _import(row)


async def page(
    connection: AsyncConnection, program_id: UUID, *, before: UUID | None, limit: int
) -> list[Import]:
    """Newest first: ids are in the order of making."""
    query = select(imports).where(imports.c.program_id == program_id)
    if before is not None:
        query = query.where(imports.c.id < before)
    rows = await connection.execute(query.order_by(imports.c.id.desc()).limit(limit))
    return [_import(row) for row in rows]


async def count_open(connection: AsyncConnection, program_id: UUID, since: datetime) -> int:
    """How many imports wait to be started and have parts, or had something done with them since then."""
    parts = select(import_parts.c.number).where(_parts(program_id, imports.c.id))
    query = select(func.count()).where(
        imports.c.program_id == program_id,
        imports.c.run_id.is_(None),
        (imports.c.changed_at >= since) | parts.exists(),
    )
    return (await connection.execute(query)).scalar_one()


async def touch(
    connection: AsyncConnection, program_id: UUID, import_id: UUID, at: datetime, run_id: UUID | None = None
) -> None:
    """Note that the file was changed, or which run it was started with."""
    more = {} if run_id is None else {"run_id": run_id}
    await connection.execute(
        update(imports).where(_named(program_id, import_id)).values(changed_at=at, **more)
    )


async def advance(
    connection: AsyncConnection,
    run: Run,
    import_id: UUID,
    read_to: int,
    after: Progress,
    rejections: Sequence[Rejection],
    at: datetime,
) -> bool:
    """Note how far the file is and what was rejected; false, and nothing noted, when it is not at `read_to` or the run
    has been given to somebody else.
    """
    statement = (
        update(imports)
        .where(_named(run.program_id, import_id), imports.c.read_to == read_to)
        .where(select(runs.c.id).where(ours(run)).exists())
        .values(changed_at=at, **msgspec.structs.asdict(after))
    )
    if (await connection.execute(statement)).rowcount == 0:
        return False
    await came_further(connection, run)
    if rejections:
        about = {"program_id": run.program_id, "import_id": import_id}
        await connection.execute(insert(import_rejections), [about | values(one) for one in rejections])
    return True


async def open_anew(connection: AsyncConnection, program_id: UUID, import_id: UUID) -> None:
    """Forget how far the file was and what was rejected: it comes once more."""
    statement = update(imports).where(_named(program_id, import_id))
    await connection.execute(statement.values(run_id=None, **msgspec.structs.asdict(Progress())))
    rejected = import_rejections.c
    await connection.execute(
        delete(import_rejections).where(rejected.program_id == program_id, rejected.import_id == import_id)
    )


async def end(connection: AsyncConnection, program_id: UUID, import_id: UUID, at: datetime) -> None:
    statement = update(imports).where(_named(program_id, import_id)).values(ended_at=at, changed_at=at)
    await connection.execute(statement)


# --- parts ----------------------------------------------------------------------------------------------------


async def put_part(
    connection: AsyncConnection, program_id: UUID, import_id: UUID, number: int, content: bytes
) -> None:
    """The part, in the place of the one that had its number."""
    row = {"program_id": program_id, "import_id": import_id, "number": number}
    told: dict[str, Any] = {"bytes": len(content), "content": content}
    statement = upsert(import_parts).values(**row, **told)
    await connection.execute(statement.on_conflict_do_update(index_elements=list(row), set_=told))


async def part_sizes(connection: AsyncConnection, program_id: UUID, import_id: UUID) -> dict[int, int]:
    """Bytes of each part, by number, ascending."""
    return (await sizes_of(connection, program_id, [import_id])).get(import_id, {})


async def sizes_of(
    connection: AsyncConnection, program_id: UUID, import_ids: Sequence[UUID]
) -> dict[UUID, dict[int, int]]:
    """Bytes of each part, by number, ascending, of those imports that have any."""
    c = import_parts.c
    query = select(c.import_id, c.number, c.bytes).where(
        c.program_id == program_id, c.import_id.in_(import_ids)
    )
    found: dict[UUID, dict[int, int]] = {}
    for row in await connection.execute(query.order_by(c.import_id, c.number)):
        found.setdefault(row.import_id, {})[row.number] = row.bytes
    return found


async def part(connection: AsyncConnection, program_id: UUID, import_id: UUID, number: int) -> bytes:
    query = select(import_parts.c.content).where(
        _parts(program_id, import_id), import_parts.c.number == number
    )
    return (await connection.execute(query)).scalar_one()


async def remove_part(connection: AsyncConnection, program_id: UUID, import_id: UUID, number: int) -> None:
    await connection.execute(
        delete(import_parts).where(_parts(program_id, import_id), import_parts.c.number == number)
    )


async def left_parts(
    connection: AsyncConnection, program_id: UUID, before: datetime
) -> list[tuple[UUID, int]]:
    """Parts of imports that nothing was done with since `before`.

    Order: of the file, so that one of which some went has a gap and cannot be started.
    """
    query = (
        select(import_parts.c.import_id, import_parts.c.number)
        .join(imports, imports.c.id == import_parts.c.import_id)
        .where(import_parts.c.program_id == program_id, _left(program_id, before))
        .order_by(import_parts.c.import_id, import_parts.c.number)
    )
    return [tuple(row) for row in await connection.execute(query)]


async def still_left(
    connection: AsyncConnection, program_id: UUID, import_id: UUID, before: datetime
) -> bool:
    """Whether nothing was done with an import since `before`; nobody starts it until the transaction ends."""
    query = select(imports.c.id).where(imports.c.id == import_id, _left(program_id, before))
    return (await connection.execute(query.with_for_update())).one_or_none() is not None


# --- rejections -----------------------------------------------------------------------------------------------


async def rejections_of(
    connection: AsyncConnection,
    program_id: UUID,
    import_id: UUID,
    *,
    after: tuple[int, int] = (0, 0),
    limit: int,
) -> list[Rejection]:
    """In the order of the file."""
    told = import_rejections.c
    query = (
        select(*columns(import_rejections, Rejection))
        .where(
            told.program_id == program_id,
            told.import_id == import_id,
            func.row(told.line, told.position) > func.row(*after),
        )
        .order_by(told.line, told.position)
        .limit(limit)
    )
    return [struct(row, Rejection) for row in await connection.execute(query)]


def _import(row: Any) -> Import:
    return Import(
        row.id, ImportKind(row.kind), row.source, row.created_at, row.changed_at, row.run_id, row.ended_at,
        struct(row, Progress),
    )  # fmt: skip


def _named(program_id: UUID, import_id: UUID) -> Any:
    return (imports.c.program_id == program_id) & (imports.c.id == import_id)


def _left(program_id: UUID, before: datetime) -> Any:
    """Imports that nothing was done with since `before`, and of which no run waits or is at work, or was since then."""
    run = select(runs.c.id).where(
        runs.c.program_id == program_id,
        runs.c.id == imports.c.run_id,
        runs.c.ended_at.is_(None) | (runs.c.ended_at >= before),
    )
    return (imports.c.program_id == program_id) & (imports.c.changed_at < before) & ~run.exists()


def _parts(program_id: UUID, import_id: Any) -> Any:
    return (import_parts.c.program_id == program_id) & (import_parts.c.import_id == import_id)
