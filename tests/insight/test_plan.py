"""A plan is who moves: the configuration is published then, everybody is placed, and the steps are those."""

from collections import Counter
from datetime import timedelta
from random import Random
from uuid import UUID

import pytest
from msgspec.structs import replace

from loyalty.insight.ahead import plan as planning
from loyalty.insight.ahead import store
from loyalty.insight.ahead.plan import plan
from loyalty.insight.ahead.types import TierPlan
from loyalty.jobs.ladders import Place, place_all
from loyalty.ledger.verify import verify
from loyalty.posting.commands import EraseMember, Publish
from loyalty.posting.configuration import Configuration
from loyalty.posting.reviews import reviews
from loyalty.posting.runtime import Runtime
from loyalty.programs.types import Rolling
from tests.conftest import Database
from tests.insight.stories import CARDS, configured, ladders, tell
from tests.posting.live import LiveShop, open_shop, superuser
from tests.posting.shop import NOW, card, enrol, give_tier, ladder, program, purchase

Steps = dict[tuple[str, str | None, str | None], int]


def told(of: TierPlan) -> Steps:
    return {
        (one.tier_set, move.before, move.after): move.members
        for one in of.tier_sets
        if one.change != "left_out"
        for move in one.moves
    }


async def placed(runtime: Runtime, database: Database, shop: LiveShop, wanted: Configuration) -> Steps:
    """What comes of publishing."""
    published = await shop.done(Publish(wanted))
    await place_all(runtime, shop.id, Place())
    async with superuser(database) as link:
        query = """
            SELECT tier_set, before, after FROM tier_moves
            WHERE program_id = $1 AND at = $2::text::timestamptz AND why = 'changed'
        """
        rows = await link.fetch(query, shop.id, published["effective_at"])
    return dict(Counter(tuple(row) for row in rows))


@pytest.mark.parametrize("seed", [10, *(pytest.param(seed, marks=pytest.mark.proof) for seed in (9, 17, 27))])
async def test_publishing_moves_exactly_whom_the_plan_named(
    runtime: Runtime, database: Database, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(store, "CHUNK", 2 + seed % 4)
    story = await tell(runtime, seed)
    wanted = configured(ladders(Random(seed + 100)), 7)
    foretold = await plan(runtime.pool.acquire, story.shop.id, wanted, story.now)
    assert foretold.members == len(story.members)
    found = await placed(runtime, database, story.shop, wanted)
    assert told(foretold) == found
    assert found
    assert (await verify(runtime.pool.acquire, story.shop.id, also=(reviews,))).intact


async def test_a_plan_tells_what_becomes_of_every_ladder_and_names_some_who_move(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "FIRST", 2)
    monkeypatch.setattr(store, "CHUNK", 3)
    goes, stays = ladder(id="goes"), ladder(id="stays")
    shop = await open_shop(runtime, members=(), tier_sets=(goes, ladder(), stays))
    ids = [UUID((await shop.done(enrol(number)))["id"]) for number in CARDS]
    for n, number in enumerate(CARDS[:4]):
        await shop.done(purchase(f"R-{n}", 30_000 + 1_000 * n, of=number))
    await shop.done(give_tier("gold", NOW + timedelta(days=9), of=CARDS[5]), EraseMember(card(CARDS[3])))
    higher = replace(ladder(), tiers=(replace(ladder().tiers[0], threshold=31_500), ladder().tiers[1]))
    comes = ladder(id="comes")
    wanted = program(tier_sets=(comes, higher, stays), expiry=Rolling(days=1))
    found = await plan(runtime.pool.acquire, shop.id, wanted, NOW)
    assert (found.members, found.configuration) == (5, 1)
    assert [(one.tier_set, one.change) for one in found.tier_sets] == [
        ("comes", "added"),
        ("status", "changed"),
        ("stays", "unchanged"),
        ("goes", "left_out"),
    ]
    moves = [
        [(one.before, one.after, one.members, one.first) for one in each.moves] for each in found.tier_sets
    ]
    first = sorted(ids[:3])[:2]
    assert moves == [
        [(None, "silver", 3, tuple(first))],
        [("silver", None, 2, tuple(sorted(ids[:2])))],
        [],
        [("silver", None, 3, tuple(first))],
    ]
    assert (await plan(runtime.pool.acquire, shop.id, program(), NOW)).tier_sets[0].change == "left_out"


async def test_whose_tier_is_held_up_by_another_is_not_in_grace(runtime: Runtime) -> None:
    shop = await open_shop(runtime, members=CARDS[:2], tier_sets=(ladder(),))
    await shop.done(*(purchase(f"R-{number}", 70_000, of=number) for number in CARDS[:2]))
    await shop.done(give_tier("gold", NOW + timedelta(days=90), of=CARDS[0]))
    tiers = (ladder().tiers[0], replace(ladder().tiers[1], threshold=80_000))
    wanted = program(tier_sets=(ladder(tiers=tiers, grace_days=7),))
    found = await plan(runtime.pool.acquire, shop.id, wanted, NOW)
    assert (told(found), found.tier_sets[0].in_grace) == ({}, 1)


async def test_what_is_due_and_not_written_yet_is_none_of_the_plan(runtime: Runtime) -> None:
    """By then the quarter that counted is over: nobody falls by the new ladder who fell by the old one."""
    shop = await open_shop(runtime, tier_sets=(ladder(),))
    await shop.done(purchase("R-1", 70_000))
    higher = ladder(tiers=(replace(ladder().tiers[0], threshold=80_000),))
    now = await plan(runtime.pool.acquire, shop.id, program(tier_sets=(higher,)), NOW)
    assert told(now) == {("status", "gold", None): 1}
    later = await plan(runtime.pool.acquire, shop.id, program(tier_sets=(higher,)), NOW + timedelta(days=200))
    assert told(later) == {}


async def test_a_ladder_that_came_in_force_and_was_not_written_yet_is_none_of_the_plan(
    runtime: Runtime,
) -> None:
    shop = await open_shop(runtime)
    await shop.done(purchase("R-1", 30_000), Publish(program(tier_sets=(ladder(),)), NOW + timedelta(days=9)))
    lower = ladder(tiers=(ladder().tiers[0], replace(ladder().tiers[1], threshold=30_000)))
    found = await plan(runtime.pool.acquire, shop.id, program(tier_sets=(lower,)), NOW + timedelta(days=10))
    assert told(found) == {("status", "silver", "gold"): 1}


async def test_while_a_clock_stands_the_ladder_before_is_none_of_the_plan(runtime: Runtime) -> None:
    """Both come at one instant, and nobody was placed on the first yet."""
    shop = await open_shop(runtime, clock_at=NOW, members=CARDS[:2], tier_sets=(ladder(),))
    await shop.done(purchase("R-1", 30_000, of=CARDS[0]), purchase("R-2", 20_000, of=CARDS[1]))
    silver, gold = ladder().tiers
    lower = ladder(tiers=(replace(silver, threshold=10_000), gold))
    await shop.done(Publish(program(tier_sets=(lower,))))
    raised = ladder(tiers=(replace(silver, threshold=10_000), replace(gold, threshold=30_000)))
    found = await plan(runtime.pool.acquire, shop.id, program(tier_sets=(raised,)), NOW)
    assert told(found) == {("status", "silver", "gold"): 1}
