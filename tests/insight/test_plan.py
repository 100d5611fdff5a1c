"""A plan is who moves: the configuration is published then, everybody is placed, and the steps are those."""

from collections import Counter
from datetime import timedelta
from random import Random
from uuid import UUID, uuid4

import pytest
from msgspec.structs import replace

from loyalty.insight.ahead import plan as planning
from loyalty.insight.ahead import store
from loyalty.insight.ahead.plan import plan
from loyalty.insight.ahead.types import TierPlan
from loyalty.jobs.ladders import place_everybody
from loyalty.jobs.types import Run, RunKind, RunState
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
    at = runtime.clock.now()
    run = Run(shop.id, uuid4(), RunKind.TIERS, RunState.RUNNING, 1, at, at, None, {}, None, None)
    await place_everybody(runtime, run, lambda _: None)
    async with superuser(database) as link:
        query = """
            SELECT tier_set, before, after FROM tier_moves
            WHERE program_id = $1 AND at = $2::text::timestamptz AND why = 'changed'
        """
        rows = await link.fetch(query, shop.id, published["effective_at"])
    return dict(Counter(tuple(row) for row in rows))


@pytest.mark.parametrize("seed", range(5))
async def test_publishing_moves_exactly_whom_the_plan_named(
    runtime: Runtime, database: Database, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(store, "CHUNK", 2 + seed)
    story = await tell(runtime, seed)
    wanted = configured(ladders(Random(seed + 100)), 7)
    foretold = await plan(runtime.pool.acquire, story.shop.id, wanted, story.now)
    assert foretold.members == len(story.members)
    found = await placed(runtime, database, story.shop, wanted)
    assert told(foretold) == found
    assert found
    assert (await verify(runtime.pool.acquire, story.shop.id, also=(reviews,))).intact
