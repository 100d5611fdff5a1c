"""The feed of engagement events: what happened, for every other system."""

from typing import Annotated

from msgspec import Meta, Struct

from loyalty.access.roles import Permission
from loyalty.base.database import reading
from loyalty.base.paging import InvalidCursor
from loyalty.engagement import feed
from loyalty.engagement.types import EngagementEvent, FeedPlace
from loyalty.posting.commands import Answer
from loyalty.web.api import wire
from loyalty.web.edge import Call, get


class FeedQuery(Struct, frozen=True):
    after: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=1_024,
                description="`next_cursor` of the page before; none: from the first.",
            ),
        ]
        | None
    ) = None
    limit: wire.Limit = 100


class FeedPage(Struct, frozen=True):
    """Events, and where to go on: also when there are none yet."""

    data: tuple[EngagementEvent, ...]
    next_cursor: str


@get("/v1/engagement-events", Permission.FEED_READ, answers={200: FeedPage}, refusals=(InvalidCursor,))
async def read_engagement_events(call: Call, query: FeedQuery) -> Answer:
    """Every change to members, points and configuration, as CloudEvents, in the order of commits within a lane.

    Keep `next_cursor` and ask again: nothing is missed and nothing comes twice, whoever asks and however late. The
    deltas in `data.entries` of all events sum to the ledger.
    """
    cells = call.runtime.settings.cells
    noted = call.page_start(query.after)
    async with reading(call.runtime.engine, call.program_id) as connection:
        if noted is None:
            place = await feed.beginning(connection, cells)
        else:
            place = FeedPlace(noted[0], tuple(noted[1]))
            if not await feed.is_current(connection, place, cells):
                raise InvalidCursor("The number of lanes has changed since; begin again.")
        page = await feed.read_feed(connection, call.program_id, place, query.limit)
    return call.page_on(page.events, [page.place.generation, list(page.place.positions)])
