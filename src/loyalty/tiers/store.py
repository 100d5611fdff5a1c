"""The SQL of steps on ladders: reads only, they are written by posting under the head."""

from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from loyalty.base.rows import columns, struct
from loyalty.tiers.tables import tier_moves
from loyalty.tiers.types import KeptMove


async def moves_of(
    connection: AsyncConnection,
    program_id: UUID,
    cell: int,
    member_id: UUID,
    *,
    before: tuple[UUID, str, int] | None,
    limit: int,
) -> list[KeptMove]:
    """A member's steps on all ladders, the last recorded first; behind `before` (decision, tier set, position)."""
    c = tier_moves.c
    place = tuple_(c.decision_id, c.tier_set, c.position)
    query = select(*columns(tier_moves, KeptMove)).where(
        c.program_id == program_id, c.cell == cell, c.member_id == member_id
    )
    if before is not None:
        query = query.where(place < before)
    query = query.order_by(c.decision_id.desc(), c.tier_set.desc(), c.position.desc()).limit(limit)
    return [struct(row, KeptMove) for row in await connection.execute(query)]
