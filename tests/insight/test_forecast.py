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
from loyalty.jobs.road import to_each
from loyalty.ledger.verify import verify
from loyalty.posting.commands import EraseMember, Publish, Settle
from loyalty.posting.reviews import reviews
from loyalty.posting.runtime import Runtime
from loyalty.programs.types import PayPolicy, ProgramNotFound, Rolling
from loyalty.tiers.types import Calendar, CalendarUnit, RollingWindow, Tier, Visits
from tests.conftest import Database
from tests.insight.stories import tell
from tests.posting.live import StandingClock, new_program, open_shop, superuser
from tests.posting.shop import ANN, BOB, NOW, adjust, ago, card, hold, imported, ladder, program, purchase

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


@pytest.mark.parametrize("seed", [9, *(pytest.param(seed, marks=pytest.mark.proof) for seed in (14, 17, 25))])
async def test_a_year_brings_exactly_what_was_forecast(
    runtime: Runtime, database: Database, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(store, "CHUNK", 2 + seed % 4)
    story = await tell(runtime, seed)
    foretold = await forecast(runtime.pool.acquire, story.shop.id, story.now)
    assert foretold.members == len(story.members)
    end = foretold.until - timedelta(microseconds=1)
    steps = [
        at - timedelta(microseconds=1) for at in story.planned
    ]  # a ladder that goes is looked at once more
    at = story.now
    while at < end:
        at = min(at + WEEK, end)
        steps.append(at)
    for at in sorted(steps):
        await story.move_to(at)
        assert (await to_each(runtime, story.shop.id, story.members, Settle))[1] == []
    points, moves = await happened(database, story.shop.id, story.now)
    assert told(foretold) == (points, moves)
    assert len(points) > 5
    assert moves
    assert (await verify(runtime.pool.acquire, story.shop.id, also=(reviews,))).intact


async def test_each_week_says_what_activates_and_what_expires_of_whom_and_what_it_is_worth(
    runtime: Runtime,
) -> None:
    """NOW is a Friday; what expires as a Monday begins was good through the Sunday and belongs to the Monday."""
    shop = await open_shop(
        runtime, members=(ANN, BOB), expiry=Rolling(days=90), pay=PayPolicy(3, 1, points_min=3)
    )
    begin = midnight(date(2026, 11, 23), BERLIN)
    await shop.done(
        imported(70, "1", activates_at=NOW, expires_at=begin - timedelta(microseconds=1)),
        imported(20, "2", activates_at=NOW, expires_at=begin),
        imported(8, "3", of=BOB, activates_at=begin + timedelta(hours=1), expires_at=begin + WEEK),
        imported(5, "4", activates_at=begin + timedelta(hours=1)),
    )
    await shop.done(adjust(-5), hold(30, minutes=4 * 1_440))  # of what expires first: 5, then 30
    later = program(expiry=Rolling(days=90), pay=PayPolicy(1, 1))
    await shop.done(Publish(later, begin + timedelta(days=1)))
    other = await open_shop(runtime, expiry=Rolling(days=5))
    await other.done(adjust(1_000))
    found = await forecast(runtime.pool.acquire, shop.id, NOW)
    assert (found.members, found.configuration, found.money) == (2, 2, "EUR")
    assert found.until == midnight(date(2027, 11, 22), BERLIN)
    rows = [
        (one.activates, one.activates_members, one.expires, one.expires_members, one.expires_minor)
        for week in found.weeks
        for one in week.points
    ]
    assert [week.begins_on for week in found.weeks] == [date(2026, 11, n) for n in (16, 23, 30)]
    assert rows == [(0, 0, 35, 1, 11), (13, 2, 50, 1, 16), (0, 0, 8, 1, 8)]


async def test_what_is_due_by_now_is_not_to_come_and_the_erased_have_nothing_to_come(
    runtime: Runtime, clock: StandingClock
) -> None:
    shop = await open_shop(
        runtime, members=(ANN, BOB), expiry=Rolling(days=30), tier_sets=(ladder(), ladder(id="second"))
    )
    await shop.done(adjust(10), adjust(20, BOB), purchase("R-1", 30_000), purchase("R-2", 70_000, of=BOB))
    await shop.done(EraseMember(card(BOB)))
    one = await forecast(runtime.pool.acquire, shop.id, NOW)
    assert (one.members, sum(each.expires for week in one.weeks for each in week.points)) == (1, 310)
    assert [
        (week.begins_on, move.tier_set, move.before, move.members)
        for week in one.weeks
        for move in week.moves
    ] == [(date(2027, 3, 29), id, "silver", 1) for id in ("second", "status")]
    clock.at = NOW + timedelta(days=60)  # nobody has settled
    assert [week.points for week in (await forecast(runtime.pool.acquire, shop.id, clock.at)).weeks] == [()]
    assert (await forecast(runtime.pool.acquire, shop.id, NOW + timedelta(days=200))).weeks == ()


async def test_ladders_to_come_are_climbed_and_one_that_goes_is_left(runtime: Runtime) -> None:
    shop = await open_shop(runtime, tier_sets=(ladder(),))
    await shop.done(purchase("R-1", 30_000))
    half = ladder(id="half", metric=ladder().metric, period=Calendar(CalendarUnit.HALF_YEAR))
    await shop.done(Publish(program(tier_sets=(ladder(), half)), NOW + timedelta(days=10)))
    await shop.done(Publish(program(tier_sets=(half,)), NOW + timedelta(days=90)))
    found = await forecast(runtime.pool.acquire, shop.id, NOW)
    steps = [
        (week.begins_on, one.tier_set, one.before, one.after) for week in found.weeks for one in week.moves
    ]
    assert steps == [
        (date(2026, 11, 30), "half", None, "silver"),
        (date(2027, 6, 28), "half", "silver", None),
    ]


async def test_of_two_ladders_each_has_the_days_that_it_counts(runtime: Runtime) -> None:
    often = ladder(
        id="often", metric=Visits(), period=RollingWindow(days=14), tiers=(Tier("often", "Often", 1),)
    )
    shop = await open_shop(runtime, tier_sets=(ladder(upgrade="at_review"), often))
    await shop.done(purchase("R-1", 30_000, at=ago(days=30)), purchase("R-2"))
    found = await forecast(runtime.pool.acquire, shop.id, NOW)
    steps = [
        (week.begins_on, one.tier_set, one.before, one.after) for week in found.weeks for one in week.moves
    ]
    assert steps == [
        (date(2026, 11, 30), "often", "often", None),
        (date(2026, 12, 28), "status", None, "silver"),
        (date(2027, 3, 29), "status", "silver", None),
    ]


async def test_there_is_no_forecast_of_what_is_no_program_yet(runtime: Runtime) -> None:
    with pytest.raises(ProgramNotFound):
        await forecast(runtime.pool.acquire, await new_program(runtime), NOW)


async def test_progress_is_told_chunk_by_chunk(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "CHUNK", 2)
    shop = await open_shop(runtime, members=[f"60355510{n:02}" for n in range(5)])
    seen: list[tuple[str, int, int]] = []
    await forecast(runtime.pool.acquire, shop.id, NOW, lambda *told: seen.append(told))
    assert seen == [("members", 2, 5), ("members", 4, 5), ("members", 5, 5)]
