"""A year of real purchases under the program of the definitions: told late and all at once, in any order, twice, with
clocks of other countries, swept every day or never. It always comes to what the raw data says, to the point.
"""

import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import date, timedelta
from itertools import groupby
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import asyncpg
import msgspec
import pytest
from msgspec.structs import replace

from loyalty.base.calendar import RoundUp, midnight
from loyalty.base.settings import load_settings
from loyalty.cli.program import load_program
from loyalty.jobs.due import settle_due
from loyalty.ledger.rollforward import RollForward
from loyalty.ledger.verify import verify
from loyalty.members.types import Identifier, IdentifierKind
from loyalty.operating.desk import Desk, open_desk
from loyalty.posting.commands import Actor, MemberRef, Publish, PurchaseLine, RecordPurchase
from loyalty.posting.places import places
from loyalty.posting.quote import quote
from loyalty.posting.reviews import reviews
from loyalty.posting.runtime import Runtime
from loyalty.posting.service import roll_forward
from loyalty.replay.totals import totals
from tests.conftest import Database, fresh_database
from tests.oracles import journey
from tests.oracles.content import content, digest
from tests.posting.live import LiveShop, StandingClock, new_program, serving, superuser
from tests.posting.test_tiers import DOUBLE
from tests.races.house import environ
from tests.words import proof_seed

pytestmark = pytest.mark.realdata

PROGRAM = Path(__file__).parents[2] / "examples" / "programs" / "journey-a.toml"
FIRST, LAST = date(2017, 1, 1), date(2017, 12, 31)
END = midnight(LAST + timedelta(days=1), journey.ZONE) - timedelta(microseconds=1)
SEED = proof_seed(20261129)
TOGETHER = 256
POS = Actor("client", UUID(int=1), "pos")


def slices(small: int, large: int) -> pytest.MarkDecorator:
    """One of so many households, and more of them for the long evidence."""
    return pytest.mark.parametrize(
        "households",
        [
            f"household_id % {small} = 0",
            pytest.param(f"household_id % {journey.thin(large)} = 0", marks=pytest.mark.proof),
        ],
    )


class Told(NamedTuple):
    """What a program says of everybody."""

    people: dict[int, journey.Figures]
    tiers: dict[int, str | None]
    months: dict[str, tuple[int, int, int, int]]


def meant(bought: Sequence[journey.Basket]) -> Told:
    """The same from the raw data, by other means."""
    return Told(
        journey.ninety_days(bought, LAST),
        dict(journey.tiers(bought, LAST)),
        journey.ninety_days_by_month(bought, LAST),
    )


def member(household: int) -> MemberRef:
    return MemberRef(identifier=Identifier(IdentifierKind.EXTERNAL, str(household)))


def purchase(basket: journey.Basket) -> RecordPurchase:
    lines = tuple(PurchaseLine(str(n), "SKU", 1000, line.cents) for n, line in enumerate(basket.lines, 1))
    return RecordPurchase("journey", str(basket.id), basket.at, "USD", lines, member(basket.household))


async def bring(shop: LiveShop, bought: Sequence[journey.Basket]) -> Counter[int]:
    """Post the baskets in their order, some hundreds at once: how often each status was answered."""
    statuses = Counter[int]()
    for first in range(0, len(bought), TOGETHER):
        some = map(purchase, bought[first : first + TOGETHER])
        statuses.update(reply.status for reply in await shop.together(*some))
    return statuses


async def told(runtime: Runtime, program_id: UUID) -> Told:
    found = await totals(runtime, program_id, "external")
    rolled = await roll_forward(runtime, program_id, RoundUp.MONTH)
    assert rolled.differences() == []
    return Told(
        {int(one.identifier): journey.Figures(one.earned, one.expired) for one in found},
        {int(one.identifier): one.tier for one in found},
        by_month(rolled),
    )


def by_month(rolled: RollForward) -> dict[str, tuple[int, int, int, int]]:
    return {one.period: (one.opening, one.earned, one.expired, one.closing) for one in rolled.periods}


async def intact(shop: LiveShop) -> None:
    # By connections as `loyalty verify` has them: those of the road give no question as long as this may take.
    async with asyncpg.create_pool(shop.runtime.settings.database_url, min_size=1, max_size=2) as pool:
        report = await verify(pool.acquire, shop.id, also=(reviews,))
    assert report.findings == ()


@asynccontextmanager
async def desk_of(database: Database, redis_url: str) -> AsyncIterator[Desk]:
    variables = environ(database.app_url, redis_url, LOYALTY_QUEUE_MS_MAX="60000")
    async with open_desk(load_settings(variables)) as desk:
        yield desk


async def at_the_years_end(desk: Desk) -> LiveShop:
    """The program of the definitions, its clock at the end of the data before anything was posted."""
    kind, configuration = load_program(PROGRAM)
    return LiveShop(desk.runtime, await desk.create_program(kind, configuration, END))


@contextmanager
def in_zone(name: str) -> Iterator[None]:
    """This process lives in another time zone for the length of a block."""
    before = os.environ.get("TZ")
    try:
        os.environ["TZ"] = name
        time.tzset()
        yield
    finally:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        time.tzset()


@slices(60, 4)
async def test_a_year_told_at_once_at_its_end_is_the_year_of_the_raw_data(
    database: Database, redis_url: str, households: str
) -> None:
    bought = journey.baskets(households)
    async with desk_of(database, redis_url) as desk:
        shop = await at_the_years_end(desk)
        # All by instant, as they happened; the points of most are over as they are recorded.
        assert await bring(shop, sorted(bought, key=lambda one: (one.at, one.id))) == {201: len(bought)}
        assert await told(desk.runtime, shop.id) == meant(bought)
        await settle_due(desk.runtime)
        assert await told(desk.runtime, shop.id) == meant(bought)
        await intact(shop)


@slices(60, 12)
async def test_neither_the_order_nor_duplicates_change_balance_tier_or_month(
    database: Database, redis_url: str, households: str
) -> None:
    bought, chance = journey.baskets(households), random.Random(SEED)
    sent = [*bought, *chance.sample(bought, len(bought) // 10)]
    chance.shuffle(sent)
    async with desk_of(database, redis_url) as desk:
        shop = await at_the_years_end(desk)
        statuses = await bring(shop, sent)
        assert statuses == {201: len(bought), 200: len(sent) - len(bought)}
        assert await told(desk.runtime, shop.id) == meant(bought)


async def test_the_zones_of_the_machines_change_nothing(database: Database, redis_url: str) -> None:
    bought = journey.baskets("household_id % 300 = 0")
    async with desk_of(database, redis_url) as desk, superuser(database) as link:
        shop = await at_the_years_end(desk)
        await bring(shop, bought)
        here = await content(link, shop.id)
        name = await link.fetchval("SELECT current_database()")
        await link.execute(f"ALTER DATABASE {name} SET timezone = 'Pacific/Apia'")
    with in_zone("Asia/Kathmandu"):
        async with desk_of(database, redis_url) as desk, superuser(database) as link:
            shop = await at_the_years_end(desk)
            await bring(shop, bought)
            assert await told(desk.runtime, shop.id) == meant(bought)
            assert await content(link, shop.id) == here


@pytest.mark.proof
@pytest.mark.parametrize("households", [f"household_id % {journey.thin(100)} = 0"])
async def test_one_jump_and_a_step_for_each_day_come_to_the_same_books(
    database: Database, redis_url: str, households: str
) -> None:
    bought = journey.baskets(households)
    async with desk_of(database, redis_url) as desk, superuser(database) as link:
        jumping, stepping = [await at_the_years_end(desk) for _ in range(2)]
        for shop in (jumping, stepping):
            assert await bring(shop, bought) == {201: len(bought)}
        before = await content(link, jumping.id)
        assert digest(before) == digest(await content(link, stepping.id))
        await desk.advance_clock(jumping.id, END + timedelta(days=366))
        await settle_due(desk.runtime)
        for day in range(1, 367):
            await desk.advance_clock(stepping.id, END + timedelta(days=day))
            if day % 7 == 0:
                await settle_due(desk.runtime)
        await settle_due(desk.runtime)
        after = await content(link, jumping.id)
        assert after == await content(link, stepping.id)
        assert digest(after) != digest(before)
        assert {one.outstanding for one in await totals(desk.runtime, jumping.id, "external")} == {0}
        await intact(stepping)


async def seen(shop: LiveShop, household: int) -> list[object]:
    """What a member reads: balances, tiers and what comes of them, and what a basket would earn now."""
    who, runtime = member(household), shop.runtime
    held = await runtime.balances_now(shop.id, who)
    assert held is not None
    stands = await places(runtime, shop.id, who, POS, "look")
    basket = RecordPurchase("till", "NEW", held.as_of, "USD", (PurchaseLine("1", "SKU", 1000, 1000),), who)
    offered = await quote(runtime, shop.id, basket, POS, "look")
    assert offered.status == 200
    figures = msgspec.json.decode(offered.body)
    return [held.balances, [(one.shown, one.ahead) for one in stands], figures["earned"], figures["balances"]]


@pytest.mark.proof
@pytest.mark.parametrize("households", [f"household_id % {journey.thin(100)} = 0"])
async def test_no_sweep_changes_what_a_member_reads(database: Database, households: str) -> None:
    chance, bought = random.Random(SEED), journey.baskets(households)
    bought.sort(key=lambda one: (one.at, one.id))
    _, configuration = load_program(PROGRAM)
    rules = (*configuration.ruleset.rules, DOUBLE)  # from silver on
    configuration = replace(configuration, ruleset=replace(configuration.ruleset, rules=rules))
    clock = StandingClock(midnight(FIRST, journey.ZONE))
    with fresh_database() as other:
        more = {"clock": clock, "queue_ms_max": 60_000}
        async with serving(database, **more) as swept, serving(other, **more) as left:
            shops = [LiveShop(runtime, await new_program(runtime)) for runtime in (swept, left)]
            for shop in shops:
                await shop.done(Publish(configuration))
            at, known, sweeps, doubled = FIRST, list[int](), 0, 0
            while at <= LAST + timedelta(days=100):
                at += timedelta(days=chance.randrange(1, 15))
                then = midnight(at, journey.ZONE) + timedelta(minutes=chance.randrange(1_440))
                some = [one for one in bought if one.at <= then]
                del bought[: len(some)]
                for _, of_the_day in groupby(some, lambda one: one.on):
                    baskets = list(of_the_day)
                    clock.at = baskets[-1].at
                    both = [await shop.together(*map(purchase, baskets)) for shop in shops]
                    earned = [[reply.earned for reply in replies] for replies in both]
                    assert earned[0] == earned[1]
                    plain = [one.cents // 100 for one in baskets]
                    doubled += sum(points != once for points, once in zip(earned[0], plain, strict=True))
                clock.at = then
                known = sorted({*known, *(one.household for one in some)})
                for household in chance.sample(known, min(1, len(known))):
                    assert await seen(shops[0], household) == await seen(shops[1], household), (at, household)
                if known and chance.randrange(2):
                    who = chance.choice(known)
                    before = await seen(shops[0], who)
                    sweeps += await settle_due(swept) > 0
                    assert await seen(shops[0], who) == before
            rolled = [await roll_forward(shop.runtime, shop.id, RoundUp.MONTH) for shop in shops]
            assert rolled[0] == rolled[1]
    assert doubled > 0
    assert sweeps > 5
