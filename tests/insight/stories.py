"""Programs in which something of everything happened: by a seed, with ladders to come, and some of it not settled."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from uuid import UUID

from msgspec.structs import replace

from loyalty.base.clock import random62
from loyalty.base.ids import Ids
from loyalty.operating.desk import Desk
from loyalty.posting.commands import Command, ImportLot
from loyalty.posting.configuration import Configuration
from loyalty.posting.runtime import Runtime
from loyalty.programs.types import FixedDays, PayPolicy, PointsCurrency, Rolling
from loyalty.rules.types import PerSpend, Rule
from loyalty.tiers.types import (
    Anniversary,
    Calendar,
    CalendarUnit,
    DistinctDays,
    Invitation,
    Lifetime,
    Metric,
    Period,
    QualifyingPoints,
    RollingWindow,
    Spend,
    TenureMonths,
    Tier,
    TierSet,
    Visits,
)
from tests.posting.live import LiveShop, open_shop
from tests.posting.shop import (
    BASE,
    NOW,
    adjust,
    cancel,
    card,
    enrol,
    give_tier,
    hold,
    ladder,
    program,
    purchase,
)

CARDS = tuple(f"60355500{n:02}" for n in range(6))
STARS = PointsCurrency("stars", "stars", expiry=FixedDays(("03-31", "09-30")), pending_days=3)
RULES = (BASE, Rule("stars", "stars for the basket", "stars", PerSpend(points=1, each_minor=1_000)))
POINTS = {"qualifying": True, "expiry": Rolling(days=120), "pending_days": 5}


@dataclass
class Story:
    shop: LiveShop
    members: list[UUID]
    now: datetime
    planned: list[datetime]  # when other configurations come in force

    async def move_to(self, at: datetime) -> None:
        await move_clock(self.shop, at)


async def move_clock(shop: LiveShop, at: datetime) -> None:
    desk = Desk(shop.runtime, Ids(shop.runtime.clock.now_ms, random62))
    await desk.advance_clock(shop.id, at)


def ladders(random: Random) -> tuple[TierSet, ...]:
    """Some ladders of any kind."""
    made: list[TierSet] = []
    for id in ("status", "club", "years"):
        metric: Metric = random.choice(
            [
                Spend(),
                Visits(),
                DistinctDays(),
                QualifyingPoints("points"),
                Spend(),
                Invitation(),
                TenureMonths(),
            ]
        )
        period: Period = random.choice(
            [
                Calendar(random.choice(list(CalendarUnit)), lasts=random.randint(1, 2)),
                Anniversary(months=random.choice([2, 6, 12]), lasts=1),
                RollingWindow(days=random.choice([14, 90])),
                RollingWindow(months=3),
                Lifetime(),
            ]
        )
        in_windows = isinstance(period, Calendar | Anniversary)
        falls = random.choice(["by_metric", "by_metric", "one_level", "never"])
        if isinstance(metric, TenureMonths) or (falls == "one_level" and not in_windows):
            falls = "by_metric"
        first = {Spend: 8_000, QualifyingPoints: 80}.get(type(metric), 2)
        tiers = (Tier("silver", "Silver", first), Tier("gold", "Gold", first * 3))
        one = ladder(id=id, metric=metric, period=period, tiers=tiers, downgrade=falls)
        if not isinstance(metric, TenureMonths):
            one = replace(
                one,
                grace_days=random.choice([0, 0, 10]),
                upgrade=random.choice(["at_once", "at_once", "at_review"]),
                returns=random.choice(["at_once", "at_review"]),
            )
        made.append(one)
    return tuple(random.sample(made, random.randint(1, 3)))


def configured(tier_sets: Sequence[TierSet], each_minor: int) -> Configuration:
    return program(
        *RULES,
        currencies=(STARS,),
        tier_sets=tuple(tier_sets),
        policies={"late_days_max": None, "hold_minutes": 600},
        pay=PayPolicy(points=3, each_minor=each_minor),
        **POINTS,
    )


def command(random: Random, n: int, now: datetime) -> Command:
    """Something that happens now, or is told late."""
    of = random.choice(CARDS)
    match random.randint(0, 11):
        case 0:
            return adjust(random.randint(-60, 60) or 1, of)
        case 1:
            return cancel(f"R-{random.randint(0, n)}")
        case 2:
            return hold(random.randint(1, 40), of, minutes=random.choice([60, 30 * 1_440]))
        case 3:
            tier_set = random.choice(["status", "club", "years"])
            until = random.choice([None, now + timedelta(days=random.randint(1, 300))])
            return give_tier(random.choice(["silver", "gold"]), until, of=of, on=tier_set)
        case 4:
            begins = now + timedelta(days=random.randint(1, 40), hours=random.randint(0, 23))
            ends = random.choice([None, begins + timedelta(days=random.randint(1, 200))])
            code = random.choice(["points", "stars"])
            return ImportLot(card(of), code, random.randint(1, 90), "old", f"{n}", now, begins, ends)
        case _:
            late = timedelta(days=random.choice([0, 0, 0, 40]))
            return purchase(f"R-{n}", random.randint(500, 9_000), of=of, at=now - late)


async def tell(runtime: Runtime, seed: int) -> Story:
    """A year is to come; half a year went by, and two other configurations are planned."""
    random = Random(seed)
    now = NOW - timedelta(days=200)
    first = ladders(random)
    shop = await open_shop(runtime, members=(), clock_at=now, **POINTS)
    desk = Desk(runtime, Ids(runtime.clock.now_ms, random62))
    await desk.publish(shop.id, configured(first, 7))
    members: list[UUID] = []
    for n, number in enumerate(CARDS):
        if n > 3:  # the last ones join later
            now += timedelta(days=random.randint(1, 20))
            await move_clock(shop, now)
        members.append(UUID((await shop.done(enrol(number)))["id"]))
    done = 0
    for n in range(60):
        if random.random() < 0.4:
            now += timedelta(days=random.randint(1, 8), minutes=random.randint(0, 1_000))
            await move_clock(shop, now)
        done += (await shop.send(command(random, n, now))).status < 400
    assert done > 20
    planned = sorted(now + timedelta(days=random.randint(3, 300), minutes=n) for n in range(2))
    second = random.choice([first[1:], ladders(random)])
    for at, tier_sets in zip(planned, (second, random.choice([first, ladders(random)])), strict=True):
        await desk.publish(shop.id, configured(tier_sets, 11), at)
    return Story(shop, members, now, planned)
