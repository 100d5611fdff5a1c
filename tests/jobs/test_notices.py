"""Notices of members whom nobody touches: found night by night, told once, made up when nights were missed."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from random import Random
from uuid import UUID

import pytest
import pytest_asyncio

from loyalty.base.ids import NIL
from loyalty.jobs import notices
from loyalty.jobs.due import settle_due
from loyalty.jobs.notices import tell_ahead
from loyalty.jobs.overview import Due, overview
from loyalty.jobs.purge import purge_notices
from loyalty.jobs.road import refused
from loyalty.ledger.verify import verify
from loyalty.posting.commands import EraseMember, Notify, Publish
from loyalty.posting.reviews import reviews
from loyalty.posting.runtime import Runtime
from loyalty.programs.service import list_programs
from loyalty.programs.types import Inactivity, Rolling
from loyalty.programs.types import Notices as Policy
from tests.conftest import Database
from tests.posting.live import LiveShop, StandingClock, count, open_shop, serving, superuser
from tests.posting.shop import (
    ANN,
    BOB,
    NOW,
    adjust,
    card,
    hold,
    imported,
    ladder,
    program,
    purchase,
    reinstate,
)

MONTH = Rolling(days=31)  # what is earned today is good for thirty days more
DAY = timedelta(days=1)
OFTEN = Policy((31, 30, 25, 20, 15, 10, 7, 5, 3, 1), (90, 60, 45, 30, 20, 15, 10, 5, 3, 1))
CARDS = tuple(f"60355600{n:02}" for n in range(11))


@pytest_asyncio.fixture
async def clock() -> StandingClock:
    return StandingClock()


@pytest_asyncio.fixture
async def runtime(database: Database, clock: StandingClock) -> AsyncIterator[Runtime]:
    async with serving(database, clock) as runtime:
        yield runtime


async def told(database: Database, shop: LiveShop) -> list[tuple[str, str, int, int]]:
    """What members were told: kind, day, and how many days before by rights and in truth."""
    query = """
        SELECT type, coalesce(data ->> 'last_day_on', substr(data ->> 'at', 1, 10)), (data ->> 'days_before')::int,
               (data ->> 'days_left')::int
        FROM engagement_events WHERE program_id = $1 AND type IN ('loyalty.points.expiring', 'loyalty.tier.falling')
        ORDER BY position
    """
    async with superuser(database) as link:
        return [(row[0].removeprefix("loyalty."), *row[1:]) for row in await link.fetch(query, shop.id)]


async def place(database: Database, shop: LiveShop) -> tuple[date, UUID | None]:
    async with superuser(database) as link:
        row = await link.fetchrow("SELECT day, after FROM job_places WHERE program_id = $1", shop.id)
        assert row is not None
        return row[0], row[1]


async def whole(runtime: Runtime, shop: LiveShop) -> None:
    assert (await verify(runtime.pool.acquire, shop.id, also=(reviews,))).findings == ()


async def test_each_night_tells_what_ends_so_many_days_on(
    runtime: Runtime, database: Database, clock: StandingClock
) -> None:
    shop = await open_shop(runtime, members=(ANN, BOB), expiry=MONTH, tier_sets=(ladder(),))
    await shop.done(adjust(70), purchase("R-1", 70_000, of=BOB))
    nights: dict[int, list[tuple[str, str, int, int]]] = {}
    seen = 0
    for day in range(140):
        clock.at = NOW + day * DAY
        await tell_ahead(runtime)
        found = await told(database, shop)
        if found[seen:]:
            nights[day] = found[seen:]
        seen = len(found)
    assert nights == {
        0: [("points.expiring", "2026-12-20", 30, 30)] * 2,
        23: [("points.expiring", "2026-12-20", 7, 7)] * 2,
        102: [("tier.falling", "2027-03-31", 30, 30)],  # 22:00 UTC: it falls with the first of April
    }
    assert await place(database, shop) == ((NOW + 139 * DAY).date(), None)
    await whole(runtime, shop)


async def test_of_points_that_were_given_back_the_new_end_is_told(
    runtime: Runtime, database: Database, clock: StandingClock
) -> None:
    """Of a lot of which points have ended activity puts off nothing any more."""
    shop = await open_shop(runtime, expiry=Inactivity(days=30), reinstate_days=10, reinstated_days=20)
    await shop.done(adjust(100))
    clock.at = NOW + 31 * DAY
    await settle_due(runtime)
    await shop.done(reinstate(40), purchase("R-1", 5_000, at=clock.at))
    nights = dict[int, list[tuple[str, str, int, int]]]()
    for day in range(31, 52):
        clock.at = NOW + day * DAY
        before = await told(database, shop)
        await tell_ahead(runtime)
        nights[day] = (await told(database, shop))[len(before) :]
    assert {day: night for day, night in nights.items() if night} == {
        31: [("points.expiring", "2027-01-09", 30, 19), ("points.expiring", "2027-01-19", 30, 29)],
        43: [("points.expiring", "2027-01-09", 7, 7)],
    }
    await whole(runtime, shop)


async def test_of_the_day_on_which_a_program_is_made_notices_are_due_since_then(
    runtime: Runtime, clock: StandingClock
) -> None:
    shop = await open_shop(runtime, members=())
    (made,) = [one for one in await list_programs(runtime.engine) if one.id == shop.id]

    async def due() -> tuple[Due, Due]:
        seen = await overview(runtime, made)
        return seen.notices, seen.days

    clock.at = NOW + timedelta(seconds=40)
    assert await due() == (Due(1, NOW), Due(0, None))
    clock.at = NOW + DAY
    tonight = datetime(2026, 11, 20, 23, tzinfo=UTC)
    assert await due() == (Due(2, NOW), Due(1, tonight))
    await tell_ahead(runtime)
    clock.at = NOW + 2 * DAY
    assert await due() == (Due(1, tonight + DAY), Due(2, tonight))


async def test_repeats_and_two_workers_tell_it_once(
    database: Database, clock: StandingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "CHUNK", 3)
    async with serving(database, clock) as one, serving(database, clock) as other:
        shop = await open_shop(one, members=CARDS, expiry=MONTH)
        await shop.together(*(imported(1, n, of=n) for n in CARDS))
        workers = (tell_ahead(one), tell_ahead(other), tell_ahead(one))
        assert sum(await asyncio.gather(*workers)) == len(CARDS)
        # Also when both go for the same member: the decision knows.
        async with superuser(database) as link:
            ids = [
                row[0] for row in await link.fetch("SELECT id FROM members WHERE program_id = $1", shop.id)
            ]
            await link.execute("DELETE FROM job_places WHERE program_id = $1", shop.id)
        again = [
            refused(who, shop.id, Notify(id, NOW.date()), "r") for id in ids for who in (one, other, one)
        ]
        assert set(await asyncio.gather(*again)) == {"nothing_due"}
        await asyncio.gather(tell_ahead(one), tell_ahead(other))
        assert len(await told(database, shop)) == len(CARDS)
        await whole(one, shop)


async def test_two_who_tell_at_once_tell_it_once(database: Database, clock: StandingClock) -> None:
    async with serving(database, clock) as one, serving(database, clock) as other:
        shop = await open_shop(one, members=CARDS, expiry=MONTH)
        await shop.together(*(imported(1, n, of=n) for n in CARDS))
        async with superuser(database) as link:
            ids = [
                row[0] for row in await link.fetch("SELECT id FROM members WHERE program_id = $1", shop.id)
            ]
        twice = [
            refused(who, shop.id, Notify(id, NOW.date()), "r") for id in ids for who in (one, other, one)
        ]
        codes = await asyncio.gather(*twice)
        assert (codes.count(None), codes.count("nothing_due")) == (len(CARDS), 2 * len(CARDS))
        assert len(await told(database, shop)) == await count(database, "notices", shop.id) == len(CARDS)


async def test_missed_nights_are_made_up_and_what_has_passed_is_dropped(
    runtime: Runtime, database: Database, clock: StandingClock
) -> None:
    shop = await open_shop(runtime, members=(ANN, BOB), expiry=MONTH)
    await tell_ahead(runtime)
    clock.at = NOW + DAY
    await shop.done(adjust(70))  # good to the 21st of December
    await shop.done(imported(5, of=BOB, expires_at=NOW + 20 * DAY))
    clock.at = NOW + 28 * DAY  # the 18th: nobody worked for 28 nights
    await tell_ahead(runtime)
    assert await told(database, shop) == [
        ("points.expiring", "2026-12-21", 30, 3),
        ("points.expiring", "2026-12-21", 7, 3),
    ]
    clock.at = NOW + 400 * DAY
    assert await tell_ahead(runtime) == 0
    assert await place(database, shop) == (clock.at.date(), None)
    await whole(runtime, shop)


async def test_a_night_that_was_cut_short_goes_on_behind_the_last_member(
    runtime: Runtime, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "CHUNK", 3)
    shop = await open_shop(runtime, members=CARDS, expiry=MONTH)
    await shop.together(*(imported(1, n, of=n) for n in CARDS))
    reached = asyncio.Event()

    async def slow(*_: object) -> tuple[int, list[str]]:
        if await count(database, "notices", shop.id) >= 6:
            reached.set()
            await asyncio.Event().wait()
        return await to_each(*_)  # type: ignore[arg-type]

    to_each = notices.to_each
    monkeypatch.setattr(notices, "to_each", slow)
    killed = asyncio.create_task(tell_ahead(runtime))
    async with asyncio.timeout(10):
        await reached.wait()
    killed.cancel()
    await asyncio.wait({killed})
    day, after = await place(database, shop)
    assert day == NOW.date()
    assert after not in (None, NIL)
    monkeypatch.setattr(notices, "to_each", to_each)
    assert await tell_ahead(runtime) == 5
    assert len(await told(database, shop)) == len(CARDS)


async def test_the_erased_leave_no_notice_and_past_ones_are_forgotten(
    runtime: Runtime, database: Database, clock: StandingClock
) -> None:
    shop = await open_shop(runtime, members=(ANN, BOB), expiry=MONTH)
    await shop.done(adjust(70), adjust(70, of=BOB))
    await tell_ahead(runtime)
    assert await count(database, "notices", shop.id) == 2
    await shop.done(EraseMember(card(ANN)))
    assert await count(database, "notices", shop.id) == 1
    clock.at = NOW + 30 * DAY  # the day itself
    await purge_notices(runtime)
    assert await count(database, "notices", shop.id) == 1
    clock.at += DAY
    assert await purge_notices(runtime) > 0
    assert await count(database, "notices", shop.id) == 0
    await whole(runtime, shop)


async def test_points_that_get_another_end_once_they_are_settled_are_found_before_they_are(
    runtime: Runtime, database: Database, clock: StandingClock
) -> None:
    shop = await open_shop(runtime, expiry=Rolling(days=2), hold_grace_days=31)
    await shop.done(adjust(70), hold(70, minutes=3 * 24 * 60))
    clock.at = NOW + 4 * DAY  # the hold lapsed yesterday: good for 31 days more
    await tell_ahead(runtime)
    assert await told(database, shop) == [("points.expiring", "2026-12-24", 30, 30)]


async def test_a_sandbox_is_told_by_its_own_clock(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime, clock_at=NOW, expiry=MONTH)
    await shop.done(adjust(70))
    async with superuser(database) as link:
        await link.execute(
            "UPDATE sandbox_clocks SET now_at = $2 WHERE program_id = $1", shop.id, NOW + 25 * DAY
        )
    await tell_ahead(runtime)
    assert [left for *_, left in await told(database, shop)] == [5, 5]


@pytest.mark.parametrize("seed", range(3))
async def test_nobody_of_whom_there_is_something_to_tell_is_left_out(
    database: Database, seed: int, clock: StandingClock
) -> None:
    """The filter in SQL decides nothing: who is not found has nothing to be told, whatever happened before."""
    chance = Random(seed)
    async with serving(database, clock) as runtime:
        shop = await open_shop(
            runtime,
            members=CARDS,
            expiry=Rolling(days=33),
            hold_grace_days=9,
            policies={"notices": OFTEN},
            tier_sets=(ladder(), ladder(id="second", grace_days=12)),
        )
        receipts = 0
        for _ in range(10):
            for _ in range(chance.randrange(8)):
                receipts += 1
                of = chance.choice(CARDS)
                match chance.randrange(4):
                    case 0:
                        await shop.send(
                            purchase(f"R-{receipts}", chance.choice((900, 70_000)), of=of, at=clock.at)
                        )
                    case 1:
                        ends = clock.at + timedelta(hours=chance.randrange(1, 900))
                        await shop.send(imported(9, str(receipts), of=of, at=clock.at, expires_at=ends))
                    case 2:
                        await shop.send(hold(5, of=of, minutes=chance.randrange(1, 40_000)))
                    case _:
                        await shop.send(adjust(3, of=of))
            if chance.random() < 0.2:
                await shop.done(Publish(program(
                    expiry=Rolling(days=33), hold_grace_days=9, policies={"notices": OFTEN},
                    tier_sets=(ladder(grace_days=chance.randrange(9)), ladder(id="second", grace_days=12)),
                )))  # fmt: skip
            clock.at += chance.choice((1, 2, 5, 11, 60)) * DAY
            if chance.random() < 0.5:
                await settle_due(runtime)
            on = clock.at.astimezone(UTC).date()
            history = await runtime.history(shop.id)
            found, _ = await notices._ahead(runtime, shop.id, 0, history, clock.at, on, NIL)
            async with superuser(database) as link:
                rows = await link.fetch("SELECT id FROM members WHERE program_id = $1 ORDER BY id", shop.id)
            for (id,) in rows:
                if id not in found:
                    assert await refused(runtime, shop.id, Notify(id, on), "r") == "nothing_due"
            for id in found:
                await refused(runtime, shop.id, Notify(id, on), "r")
        assert await count(database, "notices", shop.id) > 3
        await whole(runtime, shop)
