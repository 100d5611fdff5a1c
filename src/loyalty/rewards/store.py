"""The SQL of redemptions: reads only, they are written by posting under the head."""

from uuid import UUID

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from loyalty.base.rows import columns, struct
from loyalty.rewards.tables import redemptions
from loyalty.rewards.types import Redemption


async def redemption(connection: AsyncConnection, program_id: UUID, cell: int, id: UUID) -> Redemption | None:
    """A redemption by id, which tells its cell."""
    query = select(*columns(redemptions, Redemption)).where(*_at(program_id, cell), redemptions.c.id == id)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else struct(row, Redemption)


async def redemptions_of(
    connection: AsyncConnection,
    program_id: UUID,
    cell: int,
    member_id: UUID,
    *,
    locations: tuple[str, ...],
    before: UUID | None,
    limit: int,
) -> list[Redemption]:
    """A member's redemptions, newest first; with `locations` only those made there or nowhere in particular."""
    c = redemptions.c
    query = select(*columns(redemptions, Redemption)).where(*_at(program_id, cell), c.member_id == member_id)
    if locations:
        query = query.where(or_(c.location.is_(None), c.location.in_(locations)))
    if before is not None:
        query = query.where(c.id < before)
    return [
        struct(row, Redemption) for row in await connection.execute(query.order_by(c.id.desc()).limit(limit))
    ]


def _at(program_id: UUID, cell: int) -> tuple[ColumnElement[bool], ...]:
    return redemptions.c.program_id == program_id, redemptions.c.cell == cell
