"""The SQL of the feed."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from loyalty.engagement.tables import engagement_events
from loyalty.programs.tables import deployment


async def events_after(
    connection: AsyncConnection, program_id: UUID, cell: int, position: int, limit: int
) -> Sequence[Row[*tuple[Any, ...]]]:
    """The next events of one lane, in the order of their positions."""
    event = engagement_events.c
    query = (
        select(
            event.cell,
            event.position,
            event.id,
            event.type,
            event.member_id,
            event.occurred_at,
            event.recorded_at,
            event.decision_id,
            event.data,
        )
        .where(event.program_id == program_id, event.cell == cell, event.position > position)
        .order_by(event.position)
        .limit(limit)
    )
    return (await connection.execute(query)).all()


async def lane_generation(connection: AsyncConnection) -> int:
    """The generation of lanes: it rises when their number changes."""
    return (await connection.execute(select(deployment.c.generation))).scalar_one()
