"""Tiers on the real road: what is kept is what a book in memory comes to, batch after batch, and verify agrees."""

import random
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest
import pytest_asyncio

from loyalty.base.calendar import midnight
from loyalty.ledger.verify import verify
from loyalty.posting.commands import Actor, AdvanceClock, Command, EraseMember, Publish, Settle
from loyalty.posting.places import places
from loyalty.posting.reviews import reviews
from loyalty.posting.runtime import Runtime
from loyalty.tiers.types import (
    Calendar,
    CalendarUnit,
    Day,
    Lifetime,
    QualifyingPoints,
    RollingWindow,
    Tier,
    Visits,
)
from tests.conftest import Database
from tests.posting.live import LiveShop, open_shop, serving, superuser
from tests.posting.shop import (
    ANN,
    BASE,
    BOB,
    Shop,
    cancel,
    card,
    enrol,
    give_back,
    give_tier,
    ladder,
    program,
    purchase,
)
from tests.posting.test_tiers import DOUBLE

MAY = datetime(2026, 5, 4, 15, tzinfo=UTC)
LADDERS = (
    ladder(),
    ladder(id="monthly", period=Calendar(CalendarUnit.MONTH, lasts=0), downgrade="one_level", grace_days=3),
    ladder(id="often", metric=Visits(), period=RollingWindow(days=20), tiers=(Tier("often", "Often", 3),)),
    ladder(
        id="points", metric=QualifyingPoints("points"), period=Lifetime(), tiers=(Tier("some", "Some", 500),)
    ),
)


@pytest_asyncio.fixture
async def runtime(database: Database) -> AsyncIterator[Runtime]:
    async with serving(database) as runtime:
        yield runtime


async def member_of(shop: LiveShop, database: Database, of: str) -> UUID:
    async with superuser(database) as link:
        query = "SELECT member_id FROM identifiers WHERE program_id = $1 AND value = $2"
        return await link.fetchval(query, shop.id, of)


async def intact(shop: LiveShop) -> list[tuple[str, str]]:
    report = await verify(shop.runtime.pool.acquire, shop.id, also=(reviews,))
    return [(found.table, found.what) for found in report.findings]


def figures(days: Iterable[Day]) -> dict[date, tuple[int, int, dict[str, int]]]:
    """What the days say, points that are 0 left out."""
    return {
        day.on: (day.spend_minor, day.visits, {code: points for code, points in day.points.items() if points})
        for day in days
    }


@pytest.mark.parametrize("seed", range(3))
async def test_what_is_kept_is_what_a_book_in_memory_comes_to(
    runtime: Runtime, database: Database, seed: int
) -> None:
    chance = random.Random(seed)
    configuration: dict[str, Any] = {
        "tier_sets": LADDERS,
        "policies": {"late_days_max": 400},
        "qualifying": True,
    }
    memory = Shop(program(BASE, DOUBLE, **configuration), clock=MAY)
    memory.done(enrol(ANN), enrol(BOB))
    road = await open_shop(runtime, BASE, DOUBLE, members=(ANN, BOB), clock_at=MAY, **configuration)
    ids = {of: await member_of(road, database, of) for of in (ANN, BOB)}
    mine = {of: memory.book.identifiers[card(of).identifier] for of in (ANN, BOB)}  # type: ignore[index]
    now, receipts = MAY, 0
    for _ in range(12):
        batch: list[tuple[Command, Command]] = []
        for _ in range(chance.randrange(1, 6)):
            of = chance.choice((ANN, BOB))
            match chance.randrange(8):
                case 0:
                    batch.append((Settle(ids[of]), Settle(mine[of])))  # type: ignore[arg-type]
                case 1 if receipts:
                    one = give_back(
                        f"B-{now:%j}-{len(batch)}", of=f"R-{chance.randrange(receipts) + 1}", at=now
                    )
                    batch.append((one, one))
                case 2 if receipts:
                    one = cancel(f"R-{chance.randrange(receipts) + 1}")
                    batch.append((one, one))
                case 3:
                    tier = chance.choice(("gold", None))
                    one = give_tier(tier, now + timedelta(days=9) if tier else None, of=of)
                    batch.append((one, one))
                case _:
                    receipts += 1
                    late = timedelta(days=chance.choice((0, 0, 0, 1, 20, 70)))
                    amount = chance.choice((900, 26_000, 61_000))
                    one = purchase(f"R-{receipts}", amount, of=of, at=now - late)
                    batch.append((one, one))
        answers = await road.together(*(one for one, _ in batch))
        for answer, (_, same) in zip(answers, batch, strict=True):
            expected = memory.send(same)
            told, meant = (msgspec.json.decode(reply.raw) for reply in (answer, expected))
            assert answer.status == expected.status, (told, meant)
            for field in ("standing", "earned_points"):
                assert told.get(field) == meant.get(field)
            assert [one["points"] for one in told.get("earned", ())] == [
                one["points"] for one in meant.get("earned", ())
            ]
        assert await intact(road) == []
        now += timedelta(days=chance.choice((1, 8, 31, 95)))
        memory.now = now
        await road.done(AdvanceClock(now))
    query = "SELECT day, spend_minor, visits, points::text FROM member_days WHERE program_id = $1 AND member_id = $2"
    for of in (ANN, BOB):
        async with superuser(database) as link:
            rows = await link.fetch(query, road.id, ids[of])
        kept = [Day(on, spend, visits, msgspec.json.decode(points)) for on, spend, visits, points in rows]
        assert figures(kept) == figures(memory.book.days.get(mine[of], {}).values())  # type: ignore[arg-type]
    moves = "SELECT count(*) FROM tier_moves WHERE program_id = $1"
    async with superuser(database) as link:
        assert await link.fetchval(moves, road.id) == len(memory.book.new_moves) > 3


async def test_a_look_writes_nothing_and_finds_what_is_due(runtime: Runtime, database: Database) -> None:
    road = await open_shop(runtime, clock_at=MAY, tier_sets=(ladder(),))
    await road.done(purchase("R-1", 70_000, at=MAY))
    await road.done(AdvanceClock(datetime(2026, 9, 1, tzinfo=UTC)))
    actor = Actor("client", road.client, "support")
    (place,) = await places(runtime, road.id, card(ANN), actor, "r")
    assert (place.shown.tier, [(move.after, f"{move.at:%Y-%m-%d}") for move in place.ahead]) == (
        "gold",
        [(None, "2026-09-30")],
    )
    await road.done(AdvanceClock(datetime(2026, 11, 1, tzinfo=UTC)))
    (place,) = await places(runtime, road.id, card(ANN), actor, "r")
    assert (place.shown.tier, place.standing.next_review_at, place.ahead) == (None, None, ())
    async with superuser(database) as link:
        kept = await link.fetchval("SELECT earned FROM standings WHERE program_id = $1", road.id)
    assert kept == "gold"  # until somebody writes
    assert await intact(road) == []


async def test_what_is_ahead_goes_over_the_ladders_that_are_published_for_later(runtime: Runtime) -> None:
    road = await open_shop(runtime, clock_at=MAY, tier_sets=(ladder(),))
    await road.done(purchase("R-1", 70_000, at=MAY))
    actor, july = Actor("client", road.client, "support"), datetime(2026, 7, 1, 10, tzinfo=UTC)

    async def ahead() -> list[tuple[str | None, str, datetime]]:
        (place,) = await places(runtime, road.id, card(ANN), actor, "r")
        return [(move.after, move.why, move.at) for move in place.ahead]

    ends = midnight(date(2026, 10, 1), ZoneInfo("Europe/Berlin"))
    assert await ahead() == [(None, "reviewed", ends)]
    silver, gold = ladder().tiers
    raised = ladder(tiers=(silver, msgspec.structs.replace(gold, threshold=90_000)))
    await road.done(Publish(program(tier_sets=(raised,)), july))
    assert await ahead() == [("silver", "changed", july), (None, "reviewed", ends)]
    without = datetime(2026, 8, 1, 10, tzinfo=UTC)
    await road.done(Publish(program(), without))
    assert await ahead() == [("silver", "changed", july)]  # nothing is counted from August on
    await road.done(AdvanceClock(july))
    assert await ahead() == []


async def test_a_program_without_tiers_reads_none_and_counts_its_days(
    runtime: Runtime, database: Database
) -> None:
    road = await open_shop(runtime)
    await road.done(purchase("R-1", 30_000))
    assert await intact(road) == []
    await road.done(Publish(program(tier_sets=(ladder(),))))
    again = await road.done(purchase("R-2", 100))
    assert (again["standing"][0]["tier"], again["standing"][0]["counted"]) == ("silver", 30_100)
    await road.done(EraseMember(card(ANN)))
    assert await intact(road) == []


async def test_late_purchases_of_one_batch_know_of_each_other_though_no_ladder_is_left(
    runtime: Runtime, database: Database
) -> None:
    rules: dict[str, Any] = {"policies": {"late_days_max": 30}}
    road = await open_shop(runtime, BASE, clock_at=MAY, **rules)
    for days, then in (3, program(BASE, DOUBLE, tier_sets=(ladder(),), **rules)), (9, program(BASE, **rules)):
        await road.done(AdvanceClock(MAY + timedelta(days=days)), Publish(then))
    before = MAY + timedelta(days=1)  # before there was a ladder
    await road.done(purchase("R-0", 20_000, at=before))
    lifts = purchase("R-1", 6_000, at=before)
    twice = purchase("R-2", 100, at=MAY + timedelta(days=4))
    for answer, doubled in zip(await road.together(lifts, twice), (False, True), strict=True):
        told = msgspec.json.decode(answer.raw)
        assert answer.status == 201, told
        assert (told["earned"][0]["points"] == 2) is doubled
    assert await intact(road) == []
