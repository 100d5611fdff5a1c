"""The feed: every engagement event of a program, gap-free, replayable from any place.

Order is promised within a lane: events stand there in the order of their commits, and a reader's place says of each
lane how far it is, so that nothing is missed and nothing comes twice. A page of several lanes is sorted by the
instant of recording.
"""

from typing import NamedTuple
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from loyalty.engagement import store
from loyalty.engagement.types import EngagementEvent, FeedPlace


class FeedPage(NamedTuple):
    events: list[EngagementEvent]
    place: FeedPlace  # where the next page begins


async def beginning(connection: AsyncConnection, cells: int) -> FeedPlace:
    """The place before the first event ever."""
    return FeedPlace(await store.lane_generation(connection), (0,) * cells)


async def is_current(connection: AsyncConnection, place: FeedPlace, cells: int) -> bool:
    """Whether a place was noted under the lanes of today."""
    return len(place.positions) == cells and place.generation == await store.lane_generation(connection)


async def read_feed(connection: AsyncConnection, program_id: UUID, place: FeedPlace, limit: int) -> FeedPage:
    """At most `limit` events after `place`; fewer only when no more are committed."""
    rows = [
        row
        for cell, position in enumerate(place.positions)
        for row in await store.events_after(connection, program_id, cell, position, limit)
    ]
    rows.sort(key=lambda row: (row.recorded_at, row.cell, row.position))
    positions = list(place.positions)
    events: list[EngagementEvent] = []
    for row in rows[:limit]:
        positions[row.cell] = row.position
        events.append(
            EngagementEvent(
                id=row.id,
                source=f"/v1/programs/{program_id}",
                type=row.type,
                time=row.occurred_at,
                data=row.data,
                lane=row.cell,
                position=row.position,
                recordedat=row.recorded_at,
                decisionid=row.decision_id,
                subject=row.member_id,
            )
        )
    return FeedPage(events, FeedPlace(place.generation, tuple(positions)))
