"""What members and support read: balances now and as of, lots, a statement in words, all settled and unwritten."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest_asyncio

from loyalty.base.database import reading
from loyalty.ledger import service
from loyalty.ledger.service import Owner
from loyalty.ledger.types import Balances, Statement
from loyalty.posting.commands import AdvanceClock
from loyalty.posting.runtime import Runtime
from loyalty.programs.types import PointsCurrency
from tests.conftest import Database
from tests.laws.shop import open_shop, serving
from tests.rooms.traffic import CONFIGURATION, START, Traffic

ZONE = ZoneInfo("Europe/Berlin")
CURRENCIES = msgspec.convert(CONFIGURATION["settings"]["points_currencies"], list[PointsCurrency])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def runtime(database: Database) -> AsyncIterator[Runtime]:
    async with serving(database) as runtime:
        yield runtime


class Desk(Traffic):
    """Traffic in a sandbox whose clock the test moves, and what is read of member 0."""

    now: datetime

    async def at(self, now: datetime) -> None:
        if now > self.now:
            await self.post(AdvanceClock(now))
        self.now = now

    def owner(self, member: int = 0) -> Owner:
        return Owner(self.program, 0, self.members[member])

    async def balances(self, **when: Any) -> Balances:
        async with reading(self.shop.runtime.engine, self.program) as connection:
            return await service.balances(
                connection, self.shop.runtime.aside, self.owner(), CURRENCIES, ZONE, self.now, **when
            )

    async def points(self, **when: Any) -> tuple[int, int]:
        """Points available, miles pending."""
        points, miles = (await self.balances(**when)).balances
        return points.available, miles.pending

    async def statement(self, limit: int = 50, before: dict[str, int] | None = None) -> Statement:
        async with reading(self.shop.runtime.engine, self.program) as connection:
            return await service.statement(
                connection,
                self.shop.runtime.aside,
                self.owner(),
                CURRENCIES,
                ZONE,
                self.now,
                limit=limit,
                before=before,
            )

    async def entries(self) -> int:
        async with reading(self.shop.runtime.engine, self.program) as connection:
            rows = await connection.exec_driver_sql("SELECT count(*) FROM entries")
            return rows.scalar_one()


async def open_desk(runtime: Runtime) -> Desk:
    desk = Desk(await open_shop(runtime, CONFIGURATION, START))
    desk.now = START
    await desk.enrol()
    return desk


def day(number: int) -> datetime:
    return START + timedelta(days=number)


async def test_a_balance_tells_what_expires_next(runtime: Runtime) -> None:
    desk = await open_desk(runtime)
    await desk.buy(0, 2500, day(0))
    await desk.at(day(3))
    await desk.buy(0, 1200, day(3))
    points, miles = (await desk.balances()).balances
    assert (points.available, points.pending, points.held, points.debt) == (37, 0, 0, 0)
    assert points.expiring is not None
    assert (points.expiring.points, points.expiring.last_day_on) == (25, date(2026, 3, 31))
    assert (miles.available, miles.pending, miles.expiring) == (0, 3, None)


async def test_a_member_without_movements_has_zero_of_everything(runtime: Runtime) -> None:
    desk = await open_desk(runtime)
    assert [(b.points_currency, b.available) for b in (await desk.balances()).balances] == [
        ("points", 0),
        ("miles", 0),
    ]
    assert await desk.statement() == Statement((), None)


async def test_reading_settles_without_writing(runtime: Runtime) -> None:
    """Points are gone at local midnight, miles are there, whether or not a job or a purchase came by."""
    desk = await open_desk(runtime)
    await desk.buy(0, 2500, day(0))
    before = await desk.entries()
    await desk.at(datetime(2026, 3, 31, 21, 59, 59, tzinfo=UTC))
    assert await desk.points() == (25, 0)
    await desk.at(datetime(2026, 3, 31, 22, tzinfo=UTC))
    assert await desk.points() == (0, 0)
    assert (await desk.balances()).balances[1].available == 2
    assert await desk.entries() == before


async def test_lots_show_what_is_left_and_until_when(runtime: Runtime) -> None:
    desk = await open_desk(runtime)
    await desk.buy(0, 2500, day(0))
    await desk.bring(0, 50, day(0) - timedelta(days=10))
    await desk.adjust(0, -20)
    async with reading(runtime.engine, desk.program) as connection:
        lots = await service.lots(connection, runtime.aside, desk.owner(), ZONE, desk.now)
    assert [(lot.points_currency, lot.available, lot.pending, str(lot.last_day_on)) for lot in lots] == [
        ("points", 30, 0, "2026-03-21"),
        ("points", 25, 0, "2026-03-31"),
        ("miles", 0, 2, "None"),
    ]
    assert lots[0].points == 50


async def test_a_statement_tells_every_movement_in_words_with_the_balance_it_left(runtime: Runtime) -> None:
    desk = await open_desk(runtime)
    receipt = await desk.buy(0, 2500, day(0))
    await desk.adjust(0, 100, reason="late_delivery")
    await desk.adjust(0, -30, reason="typing_error")
    await desk.cancel(receipt)
    lines = (await desk.statement()).lines
    assert [(line.words, line.available_change, line.available) for line in lines] == [
        ("2 miles taken back: the purchase was cancelled", 0, 0),
        ("25 points taken back: the purchase was cancelled", -25, 70),
        ("30 points deducted: typing error", -30, 95),
        ("100 points credited: late delivery, good to 31 March 2026", 100, 125),
        ("2 miles earned with a purchase, available from 16 March 2026", 0, 0),
        ("25 points earned with a purchase, good to 31 March 2026", 25, 25),
    ]
    assert [line.pending_change for line in lines] == [-2, 0, 0, 0, 2, 0]
    assert lines[0].activity_id == lines[-1].activity_id
    assert all(line.recorded_at == START for line in lines)


async def test_what_is_due_and_not_yet_written_stands_on_top(runtime: Runtime) -> None:
    desk = await open_desk(runtime)
    await desk.buy(0, 2500, day(0))
    await desk.at(day(31))
    lines = (await desk.statement()).lines
    assert [(line.words, line.id is None, line.available) for line in lines[:2]] == [
        ("25 points expired", True, 0),
        ("2 miles became available", True, 2),
    ]
    await desk.buy(0, 100, day(31))
    lines = (await desk.statement()).lines
    assert [(line.words, line.id is None) for line in lines[:3]] == [
        ("2 miles became available", False),
        ("1 point earned with a purchase, good to 1 May 2026", False),
        ("25 points expired", False),
    ]


async def test_pages_follow_each_other_without_gap_or_double(runtime: Runtime) -> None:
    desk = await open_desk(runtime)
    for number in range(7):
        await desk.buy(0, 900 + 200 * (number % 3), day(0))
    whole = (await desk.statement()).lines
    found: list[Any] = []
    page = await desk.statement(limit=3)
    found += page.lines
    await desk.adjust(0, 1)  # a movement between two pages shifts nothing
    while page.before is not None:
        page = await desk.statement(limit=3, before=page.before)
        assert len(page.lines) <= 3
        found += page.lines
    assert found == list(whole)
    assert len({line.id for line in found}) == len(found) > 7


async def test_a_balance_as_of_an_instant_does_not_depend_on_when_the_books_were_settled(
    runtime: Runtime,
) -> None:
    desk = await open_desk(runtime)
    await desk.buy(0, 2500, day(0))
    instants = [day(-1), day(0), day(13), day(15), day(29), day(30), day(40)]
    await desk.at(day(40))
    unswept = [await desk.points(as_of=at) for at in instants]
    await desk.adjust(0, 1)  # writes what was due
    assert unswept == [(0, 0), (25, 2), (25, 2), (25, 0), (25, 0), (0, 0), (0, 0)]
    assert [await desk.points(as_of=at) for at in instants[:-1]] == unswept[:-1]


async def test_a_late_purchase_shows_as_of_when_it_happened_but_not_as_was_known_before(
    runtime: Runtime,
) -> None:
    desk = await open_desk(runtime)
    await desk.buy(0, 2500, day(0))
    await desk.at(day(5))
    await desk.buy(0, 1000, day(2))
    assert await desk.points(as_of=day(3)) == (35, 3)
    assert await desk.points(as_of=day(3), recorded_by=day(4)) == (25, 2)
    assert await desk.points(as_of=day(1)) == (25, 2)
    answer = await desk.balances(as_of=day(3), recorded_by=day(400))
    assert (answer.as_of, answer.recorded_by) == (day(3), day(5)), "cut to the lane's last recorded instant"


async def test_what_was_known_before_the_last_recorded_instant_never_changes(runtime: Runtime) -> None:
    """At that instant itself more may come, while a clock stands."""
    desk = await open_desk(runtime)
    await desk.buy(0, 2500, day(0))
    await desk.at(day(5))
    await desk.buy(0, 1000, day(2))
    told = (await desk.balances(as_of=day(3))).recorded_by
    before = day(5) - timedelta(microseconds=1)
    known = [await desk.points(as_of=day(3), recorded_by=at) for at in (before, told)]
    await desk.buy(0, 1000, day(2))
    assert known == [(25, 2), (35, 3)]
    assert [await desk.points(as_of=day(3), recorded_by=at) for at in (before, told)] == [(25, 2), (45, 4)]


async def test_the_future_is_not_told_as_if_it_were_past(runtime: Runtime) -> None:
    desk = await open_desk(runtime)
    await desk.buy(0, 2500, day(0))
    assert (await desk.balances(as_of=day(900))).as_of == START


async def test_nobody_elses_points_are_shown(runtime: Runtime) -> None:
    desk = await open_desk(runtime)
    await desk.buy(0, 2500, day(0))
    other = await open_desk(runtime)
    stranger = Owner(other.program, 0, desk.members[0])
    async with reading(runtime.engine, other.program) as connection:
        told = await service.balances(connection, runtime.aside, stranger, CURRENCIES, ZONE, START)
        assert [balance.available for balance in told.balances] == [0, 0]
        assert (
            await service.statement(connection, runtime.aside, stranger, CURRENCIES, ZONE, START, limit=9)
        ).lines == ()
        # The same with the program's filter named wrongly: row-level security still shows nothing.
        assert (
            await service.lots(
                connection, runtime.aside, Owner(desk.program, 0, UUID(int=desk.members[0].int)), ZONE, START
            )
            == []
        )
