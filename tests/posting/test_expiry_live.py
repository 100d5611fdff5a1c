"""Points that slide, and lots of a purchase with terms of their own, in the database: read, settled, verified."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio

from loyalty.base.database import reading
from loyalty.jobs.due import settle_due
from loyalty.ledger import service
from loyalty.ledger.service import Owner
from loyalty.ledger.verify import Report, verify
from loyalty.members.service import find
from loyalty.posting.runtime import Runtime
from loyalty.programs.types import Inactivity, PayPolicy, Rolling, Transfers
from loyalty.rules.types import Fixed, Rule, Terms
from tests.conftest import Database
from tests.posting.live import LiveShop, StandingClock, open_shop, serving, superuser
from tests.posting.shop import ANN, BASE, BOB, NOW, card, carded, give, give_back, pay, purchase

DAY = timedelta(days=1)
ZONE = ZoneInfo("Europe/Berlin")
WELCOME = Rule("welcome", "a welcome", "points", Fixed(50), terms=Terms(Rolling(days=40)))


def last(month: int, day: int) -> datetime:
    """The local midnight that ends a day of the winter in Berlin."""
    return datetime(2026 if month > 10 else 2027, month, day, 23, tzinfo=UTC)


@pytest_asyncio.fixture
async def clock() -> StandingClock:
    return StandingClock()


@pytest_asyncio.fixture
async def runtime(database: Database, clock: StandingClock) -> AsyncIterator[Runtime]:
    async with serving(database, clock) as runtime:
        yield runtime


@pytest_asyncio.fixture
async def shop(runtime: Runtime, clock: StandingClock) -> LiveShop:
    """Ann bought today and nine days on, and then gave Bob a little; what slides is good to 8 December."""
    policies = {"transfers": Transfers(enabled=True)}
    paid = PayPolicy(points=1, each_minor=1)
    shop = await open_shop(
        runtime,
        BASE,
        WELCOME,
        members=(ANN, BOB),
        expiry=Inactivity(days=10),
        pay=paid,
        policies=policies,
    )
    await shop.done(purchase("R-1", 10_000))
    clock.at = NOW + 9 * DAY
    await shop.done(purchase("R-2", 2_000, at=clock.at), give(30))
    return shop


async def check(runtime: Runtime, shop: LiveShop) -> Report:
    return await verify(runtime.pool.acquire, shop.id)


async def read(runtime: Runtime, shop: LiveShop, now: datetime, *verbs: Any, **when: Any) -> Any:
    """What a verb of the ledger's service tells of Ann."""
    currencies = list((await runtime.history(shop.id)).now.currencies.values())
    async with reading(runtime.engine, shop.id) as connection:
        id = await find(connection, shop.id, carded(ANN))
        assert id is not None
        owner = Owner(shop.id, 0, id)
        match verbs:
            case ("lots",):
                return await service.lots(connection, runtime.aside, owner, ZONE, now)
            case ("statement",):
                return await service.statement(
                    connection, runtime.aside, owner, currencies, ZONE, now, limit=20
                )
            case _:
                (balance,) = (
                    await service.balances(connection, runtime.aside, owner, currencies, ZONE, now, **when)
                ).balances
                ends = balance.expiring
                return balance.available, ends and (ends.points, ends.expires_at)


async def test_every_reading_knows_the_end_that_activity_has_come_to(
    runtime: Runtime, shop: LiveShop, clock: StandingClock
) -> None:
    assert await read(runtime, shop, clock.at) == (190, (90, last(12, 8)))
    assert [
        (one.available, one.expires_at, one.slides) for one in await read(runtime, shop, clock.at, "lots")
    ] == [
        (70, last(12, 8), True),
        (20, last(12, 8), True),
        (50, last(12, 29), False),
        (50, last(1, 7), False),
    ]
    assert await read(runtime, shop, clock.at, as_of=NOW + DAY) == (150, (100, last(11, 29)))
    told = (await read(runtime, shop, clock.at, "statement")).lines
    assert told[-1].words == (
        "100 points earned with a purchase, good to 29 November 2026 and longer with every activity"
    )

    clock.at = last(12, 8)
    assert await read(runtime, shop, clock.at) == (100, (50, last(12, 29)))
    assert await read(runtime, shop, clock.at, as_of=NOW + 12 * DAY) == (190, (90, last(12, 8)))
    now = await runtime.balances_now(shop.id, card(ANN))
    assert now is not None
    assert now.balances[0].available == 100
    due = (await read(runtime, shop, clock.at, "statement")).lines[0]
    assert (due.words, due.occurred_at, due.recorded_at) == ("90 points expired", last(12, 8), None)


async def test_the_sweep_comes_when_the_account_idles_and_not_before(
    runtime: Runtime, database: Database, shop: LiveShop, clock: StandingClock
) -> None:
    async def swept(at: datetime) -> int:
        """Points that have expired, once the sweep came by."""
        clock.at = at
        await settle_due(runtime)
        query = "SELECT sum(points)::int FROM postings WHERE program_id = $1 AND target = 'expired'"
        async with superuser(database) as link:
            return await link.fetchval(query, shop.id) or 0

    assert await swept(last(11, 29) + timedelta(hours=1)) == 0
    await shop.done(pay(10))
    assert await swept(last(12, 8)) == 30  # Bob's
    assert await swept(last(12, 9)) == 30 + 80
    assert (await check(runtime, shop)).findings == ()


async def test_a_batch_knows_what_the_one_before_it_put_off(runtime: Runtime, shop: LiveShop) -> None:
    replies = await shop.together(
        purchase("R-3", 500, at=NOW + 9 * DAY), pay(5), purchase("R-4", 500, at=NOW + 8 * DAY), pay(5)
    )
    assert [reply.status for reply in replies] == [201] * 4
    assert (await check(runtime, shop)).findings == ()


async def test_what_goes_back_leaves_whole_books(runtime: Runtime, shop: LiveShop) -> None:
    reply = await shop.done(give_back("B-1"))
    assert [one["points"] for one in reply["revoked"]] == [150]
    assert reply.balance == {"available": 40}  # Bob keeps 30: others of Ann's went for them
    assert (await check(runtime, shop)).findings == ()


@pytest.mark.parametrize(
    ("statement", "table", "words"),
    [
        (
            "UPDATE accounts SET idles_at = idles_at + interval '1 day'",
            "accounts",
            "activity keeps its points",
        ),
        ("UPDATE accounts SET slides = replace(slides, '10', '99')", "accounts", "activity keeps its points"),
        ("UPDATE accounts SET next_due_at = next_due_at + interval '1 day'", "accounts", "is next due"),
        ("UPDATE lots SET was_expired = NOT was_expired", "lots", "had expired before"),
        ("UPDATE lots SET slides = replace(slides, '10', '99')", "blocks", "its hash is not"),
        ("UPDATE lots SET slides = NULL WHERE slides IS NOT NULL", "blocks", "its hash is not"),
    ],
)
async def test_whoever_makes_points_slide_further_is_found_out(
    runtime: Runtime, database: Database, shop: LiveShop, statement: str, table: str, words: str
) -> None:
    where = " AND " if "WHERE" in statement else " WHERE "
    async with superuser(database) as link:
        await link.execute("SET session_replication_role = replica")
        await link.execute(f"{statement}{where}program_id = $1", shop.id)
    found = (await check(runtime, shop)).findings
    assert any(one.table == table and words in one.what for one in found), found
