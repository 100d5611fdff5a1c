"""A forecast is what comes: the program's clock is moved through the year, and the books say the same."""

from collections import Counter
from datetime import date, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from loyalty.base.calendar import midnight
from loyalty.insight.ahead import store
from loyalty.insight.ahead.forecast import forecast
from loyalty.insight.ahead.types import Forecast
from loyalty.jobs.due import settle
from loyalty.ledger.verify import verify
from loyalty.posting.reviews import reviews
from loyalty.posting.runtime import Runtime
from tests.conftest import Database
from tests.insight.stories import tell
from tests.posting.live import superuser

BERLIN = ZoneInfo("Europe/Berlin")
WEEK = timedelta(days=7)

Points = dict[tuple[date, str], tuple[int, int, int, int]]
Moves = dict[tuple[date, str, str | None, str | None], int]


def monday(at: datetime) -> date:
    on = at.astimezone(BERLIN).date()
    return on - timedelta(days=on.weekday())


def told(of: Forecast) -> tuple[Points, Moves]:
    points = {
        (week.begins_on, one.points_currency): (
            one.activates,
            one.activates_members,
            one.expires,
            one.expires_members,
        )
        for week in of.weeks
        for one in week.points
    }
    moves = {
        (week.begins_on, one.tier_set, one.before, one.after): one.members
        for week in of.weeks
        for one in week.moves
    }
    return points, moves


async def happened(database: Database, program_id: UUID, since: datetime) -> tuple[Points, Moves]:
    """What the books say of the time behind an instant, by week."""
    async with superuser(database) as link:
        rows = await link.fetch(
            """
            SELECT a.points_currency, a.owner_id, e.occurred_at, p.points, p.target = 'expired' AS expires
            FROM entries e JOIN postings p ON p.program_id = e.program_id AND p.entry_id = e.id
            JOIN accounts a ON a.program_id = e.program_id AND a.id = e.account_id
            WHERE e.program_id = $1 AND e.occurred_at > $2 AND (p.target = 'expired' OR e.kind = 'mature')
            """,
            program_id,
            since,
        )
        steps = await link.fetch(
            "SELECT DISTINCT member_id, tier_set, at, before, after FROM tier_moves WHERE program_id = $1 AND at > $2",
            program_id,
            since,
        )
    figures = Counter[tuple[date, str, bool]]()
    who: dict[tuple[date, str, bool], set[UUID]] = {}
    for code, owner_id, at, points, expires in rows:
        figures[monday(at), code, expires] += points
        who.setdefault((monday(at), code, expires), set()).add(owner_id)
    found: Points = {}
    for week, code, _ in figures:
        of = [(week, code, expires) for expires in (False, True)]
        first, second = ((figures[key], len(who.get(key, ()))) for key in of)
        found[week, code] = (*first, *second)
    unique = {(monday(at), tier_set, before, after, id) for id, tier_set, at, before, after in steps}
    return found, dict(Counter(key[:4] for key in unique))


@pytest.mark.parametrize("seed", range(5))
async def test_a_year_brings_exactly_what_was_forecast(
    runtime: Runtime, database: Database, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(store, "CHUNK", 2 + seed)
    story = await tell(runtime, seed)
    foretold = await forecast(runtime.pool.acquire, story.shop.id, story.now)
    assert foretold.members == len(story.members)
    end = midnight(foretold.weeks[-1].begins_on + WEEK, BERLIN) - timedelta(microseconds=1)
    steps = [
        at - timedelta(microseconds=1) for at in story.planned
    ]  # a ladder that goes is looked at once more
    at = story.now
    while at < end:
        at = min(at + WEEK, end)
        steps.append(at)
    for at in sorted(steps):
        await story.move_to(at)
        assert (await settle(runtime, story.shop.id, story.members))[1] == []
    points, moves = await happened(database, story.shop.id, story.now)
    assert told(foretold) == (points, moves)
    assert len(points) > 5
    assert moves
    assert (await verify(runtime.pool.acquire, story.shop.id, also=(reviews,))).intact
